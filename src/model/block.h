#pragma once

#include <cstdint>
#include <functional>
#include <variant>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/kept.h"
#include "model/latent_cache.h"
#include "model/mla.h"
#include "model/mlp.h"
#include "model/moe.h"
#include "model/rope.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// One Transformer block: x + MLA(norm(x)), then + FFN(norm(·)) with a dense MLP or a MoE. The norms' outputs
/// are not kept for the backward pass but computed again (technical report, section 3.2.3).
class Block {
 public:
  struct Saved {
    Kept x;  // [tokens, hidden], the block's input
    Mla::Saved mla;
    Kept middle;  // [tokens, hidden], after attention's residual
    Mlp::Saved mlp;
    Moe::Saved moe;
  };
  struct Deltas {
    Tensor feed_forward_input;  // [tokens, hidden], output of post_attention_layernorm
    Tensor input_norm;          // [tokens, hidden], gradient at the output of input_layernorm
    Mla::Deltas mla;
    Tensor post_norm;  // [tokens, hidden], gradient at the output of post_attention_layernorm
    Mlp::Deltas mlp;
    Moe::Deltas moe;
  };

  /// @param layer  decides dense or MoE; num_hidden_layers + k for the block of MTP module k
  Block(const ModelConfig& config, std::int64_t layer, const BlockWeights& weights, const RopeTable& rope);

  [[nodiscard]] bool is_moe() const { return std::holds_alternative<Moe>(feed_forward_); }

  Tensor forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved,
                 std::vector<std::int64_t>* load = nullptr) const;
  Tensor backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                        double balance_alpha, const Saved& saved, Deltas& deltas) const;
  void backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                       BlockWeights& grads) const;
  /// Both in one: where experts are spread over ranks, the gradients of their weights are computed while
  /// those of their inputs travel.
  Tensor backward(const Context& context, const Tensor& dy, const Sequences& sequences, double balance_alpha,
                  const Saved& saved, Deltas& deltas, BlockWeights& grads) const;

  /// Tokens that follow those in their sequences' caches, which grow by them.
  /// @param load  as in `forward`
  /// @param next  the block after this one, if there is one: told early which experts it will probably use
  Tensor forward_cached(const Context& context, const Tensor& x, const CachedTokens<LatentCacheLayer>& batch,
                        std::vector<std::int64_t>* load = nullptr, const Block* next = nullptr) const;

 private:
  /// @param meanwhile  see `Moe::backward_input`
  Tensor input_gradient(const Context& context, const Tensor& dy, const Sequences& sequences,
                        double balance_alpha, const Saved& saved, Deltas& deltas,
                        const std::function<void()>& meanwhile) const;
  /// Of all but the feed-forward part.
  void attention_weights(const Context& context, const Saved& saved, const Deltas& deltas,
                         BlockWeights& grads) const;

  /// m + FFN(norm(m)), with m the sum of both as it is kept.
  /// @param next  as in `forward_cached`
  Tensor feed_forward(const Context& context, const Tensor& sum_of_both, const Sequences& sequences,
                      Saved* saved, std::vector<std::int64_t>* load, const Block* next) const;
  /// Where experts are read from disk, has those read ahead that this block would choose if what the block
  /// before it and its own attention will add to `middle` changed nothing. Residual streams change slowly
  /// from layer to layer, so most such guesses are right in trained models (Eliseev and Mazur, arXiv
  /// 2312.17238, section 3.2).
  void guess_experts(const Context& context, const Tensor& middle) const;

  const ModelConfig& config_;
  const BlockWeights& weights_;
  Mla mla_;
  std::variant<Mlp, Moe> feed_forward_;
};

}  // namespace fathom
