#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "numerics/precision.h"

namespace fathom {

/// A piece of a model that stays on one pipeline stage: the input embedding, a block, an MTP module, the head
/// with the final norm. Operations and bytes are of one token's forward pass.
struct ModelUnit {
  bool is_block = false;  // also an MTP module's
  bool is_moe = false;
  double linear_flops = 0;             // of linear maps, those experts alone that work on the token
  double attention_flops = 0;          // of attention's core, causal
  double moved_values = 0;             // inputs and outputs of the linear maps, each once
  std::int64_t expert_parameters = 0;  // of all routed experts
  std::int64_t linear_parameters = 0;  // of the other linear maps inside blocks: FP8 where training is
  std::int64_t other_parameters = 0;   // embedding, head, norms, router
  std::int64_t unsplit_linear_parameters = 0;  // of the linear ones: what tensor parallelism leaves whole,
  std::int64_t unsplit_other_parameters = 0;   // maps to latents; norms, router
  double expanded_flops = 0;                   // of `linear_flops`, keys and values from the latent
  std::int64_t gathered_values =
      0;                        // of a token, that tensor-parallel ranks gather and sum in the forward pass
  std::int32_t gatherings = 0;  // in so many collectives
  std::int64_t regathered_values = 0;  // and that the backward pass gathers once more
  std::int32_t regatherings = 0;
  std::int64_t kept_bytes = 0;     // activations from forward to backward
  std::int64_t working_bytes = 0;  // in use while its backward pass is under way

  /// On one of `tp` ranks.
  [[nodiscard]] double linear_on(std::int32_t tp) const {
    return static_cast<double>(unsplit_linear_parameters) +
           static_cast<double>(linear_parameters - unsplit_linear_parameters) / tp;
  }
  [[nodiscard]] double other_on(std::int32_t tp) const {
    return static_cast<double>(unsplit_other_parameters) +
           static_cast<double>(other_parameters - unsplit_other_parameters) / tp;
  }
  [[nodiscard]] std::int64_t dense_parameters() const { return linear_parameters + other_parameters; }
  [[nodiscard]] std::int64_t unsplit_parameters() const {
    return unsplit_linear_parameters + unsplit_other_parameters;
  }
};

/// In the order of computing: embedding, blocks, MTP modules, head. The head also works for the MTP modules.
/// Three times the operations of all (forward, and twice that backward) are those of
/// `training_flops_per_token` (plan/training_cost.h).
std::vector<ModelUnit> model_units(const ModelConfig& config, std::int64_t sequence_length,
                                   Precision precision);

}  // namespace fathom
