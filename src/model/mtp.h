#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/block.h"
#include "model/config.h"
#include "model/context.h"
#include "model/kept.h"
#include "model/latent_cache.h"
#include "model/rope.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Multi-token-prediction module (technical report, section 2.2): from the previous depth's hidden state at
/// position i and the embedding of the next unseen token, the hidden state that predicts one token further.
///
/// The state that travels between depths is the one after its norm: the released modules were trained on the
/// main model's output after `model.norm`, and `eh_proj` takes [enorm(embedding); hnorm(state)] in this
/// order.
class MtpModule {
 public:
  struct Saved {
    Kept embedding;  // [tokens, hidden], before enorm
    Kept state;      // [tokens, hidden], before hnorm
    Block::Saved block;
    Tensor output;  // [tokens, hidden], before shared_head.norm
  };
  struct Deltas {
    Tensor joined;          // [tokens, 2 * hidden], input of eh_proj, computed again
    Tensor embedding_norm;  // [tokens, hidden], gradient at the output of enorm
    Tensor state_norm;      // [tokens, hidden], at the output of hnorm
    Tensor projected;       // [tokens, hidden], at the output of eh_proj
    Block::Deltas block;
    Tensor output_norm;  // [tokens, hidden], at the output of shared_head.norm
  };

  /// @param depth  0 for the first module
  MtpModule(const ModelConfig& config, std::int64_t depth, const MtpWeights& weights, const RopeTable& rope);

  [[nodiscard]] bool is_moe() const { return block_.is_moe(); }

  /// The state after shared_head.norm, [tokens, hidden]: input of the head and of the next module.
  Tensor forward(const Context& context, const Tensor& embedding, const Tensor& state,
                 const Sequences& sequences, Saved* saved, std::vector<std::int64_t>* load) const;

  /// The same of tokens that follow those in their sequences' caches, which grow by them.
  Tensor forward_cached(const Context& context, const Tensor& embedding, const Tensor& state,
                        const CachedTokens<LatentCacheLayer>& batch,
                        std::vector<std::int64_t>* load = nullptr) const;

  struct InputGradients {
    Tensor embedding;  // [tokens, hidden]
    Tensor state;      // [tokens, hidden]
  };
  InputGradients backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                                double balance_alpha, const Saved& saved, Deltas& deltas) const;
  void backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                       MtpWeights& grads) const;

 private:
  /// [enorm(embedding); hnorm(state)], [tokens, 2 * hidden].
  [[nodiscard]] Tensor joined(const Context& context, const Tensor& embedding, const Tensor& state) const;

  const ModelConfig& config_;
  const MtpWeights& weights_;
  Block block_;
};

// Depth k (from 1) sees positions 0 .. T-1-k of a sequence of T tokens: position i joins the embedding of
// token i + k and predicts the one after it (technical report, equations 22 to 24). So each depth works on
// shorter sequences.

/// The ids `depth` places behind the rows of `sequences.shortened(depth)`, where there are any: of whole
/// sequences, each one's ids from its place `depth` on.
/// @param ids  of the whole sequences, also where the rows here are a part of them
std::vector<std::int32_t> ids_ahead(std::span<const std::int32_t> ids, const Sequences& sequences,
                                    std::int64_t depth);

/// Rows of [tokens, hidden] `x` without the last one of each sequence, where that is here.
Tensor drop_last_rows(const Tensor& x, const Sequences& sequences);

/// The gradient of `drop_last_rows`: rows come back to their places in `sequences`, zeros in the last of
/// each.
Tensor restore_last_rows(const Tensor& dx, const Sequences& sequences);

}  // namespace fathom
