#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/expert_groups.h"
#include "model/kept.h"
#include "model/mlp.h"
#include "model/router.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// DeepSeekMoE: shared experts plus the routed experts of each token (technical report, equation 12). Tokens
/// are grouped by expert, each group is one batch of GEMMs, and results are gathered back in the order of
/// each token's choices, so the sum does not depend on threads. No token is dropped.
///
/// Kept from forward to backward, in values per token, with k = num_experts_per_tok, I =
/// moe_intermediate_size, S = n_shared_experts, N = n_routed_experts: 2·k·I + 2·S·I + N + 4·k; the caller
/// gives x again. From backward_input to backward_weight: 3·k·I + 3·S·I + N more (dy is the caller's
/// own and must stay as it is). Nothing of size k·hidden outlives a call: grouped inputs are gathered again,
/// and with p = silu(gate)·up a gate's gradient is (W_downᵀ·dy)·p, which needs no expert's output.
class Moe {
 public:
  struct Saved {
    Router::Saved router;
    Mlp::Saved shared;
    ExpertGroups groups;
    Kept gate;  // [tokens * top_k, moe_intermediate], grouped order
    Kept up;    // [tokens * top_k, moe_intermediate]
  };
  struct Deltas {
    Router::Deltas router;
    Mlp::Deltas shared;
    Kept dy;         // [tokens, hidden]; in FP8 as it goes to the experts, else shared with the caller
    Tensor gate;     // [tokens * top_k, moe_intermediate], grouped order
    Tensor up;       // [tokens * top_k, moe_intermediate]
    Tensor product;  // [tokens * top_k, moe_intermediate], silu(gate) * up times the routing gate
  };

  /// Keeps references: config and weights must outlive the layer.
  Moe(const ModelConfig& config, const MoeWeights& weights);

  /// `saved` null: nothing is kept, and the weights may be of any type that kernels/linear.h reads.
  /// @param load  where given, [n_routed_experts] counts of this call are added to it
  Tensor forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved,
                 std::vector<std::int64_t>* load = nullptr) const;
  /// dx for dy [tokens, hidden], through shared experts, routed experts, gates and `balance_alpha` times the
  /// sequence-wise balance loss; fills `deltas`. The weights are f32.
  Tensor backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                        double balance_alpha, const Saved& saved, Deltas& deltas) const;
  /// grads += the gradients of router, routed and shared experts; an expert without tokens is left alone.
  /// @param x  that of `forward`
  void backward_weight(const Context& context, const Tensor& x, const Saved& saved, const Deltas& deltas,
                       MoeWeights& grads) const;

 private:
  [[nodiscard]] bool has_shared_experts() const { return config_.n_shared_experts > 0; }
  void check_experts(std::int64_t hidden) const;
  /// Experts' outputs before the routing gates, [tokens * top_k, hidden] in grouped order: for training, and
  /// for inference, where weights are of any type and rows may be few.
  Tensor train_experts(const Context& context, const Tensor& x, const ExpertGroups& groups,
                       Saved* saved) const;
  Tensor run_experts(const Context& context, const Tensor& x, const ExpertGroups& groups) const;
  Tensor experts_up(const Context& context, const Tensor& x, const ExpertGroups& groups) const;

  const ModelConfig& config_;
  const MoeWeights& weights_;
  Router router_;
  Mlp shared_;
};

}  // namespace fathom
