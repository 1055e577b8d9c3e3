#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/context.h"
#include "model/latent_cache.h"
#include "model/rope.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Multi-head latent attention (technical report, section 2.1.1; equations 1 to 11).
class Mla {
 public:
  /// What the backward pass needs of a forward: [tokens, ...] tensors, no tokens × tokens matrix.
  struct Saved {
    Tensor x;               // [tokens, hidden]
    Tensor q_latent;        // [tokens, q_lora_rank], before its norm; undefined without q_lora_rank
    Tensor q_latent_norm;   // [tokens, q_lora_rank], after
    Tensor q;               // [tokens, heads, qk_head_dim], rotated
    Tensor kv_latent;       // [tokens, kv_lora_rank], before its norm
    Tensor kv_latent_norm;  // [tokens, kv_lora_rank], after
    Tensor k;               // [tokens, heads, qk_head_dim], rotated
    Tensor v;               // [tokens, heads, v_head_dim]
    Tensor attention;       // [tokens, heads, v_head_dim], input of o_proj
    Tensor log_sum_exp;     // [tokens, heads]
  };
  /// Gradients at the outputs of the linear maps: what `backward_weight` multiplies with the saved inputs.
  struct Deltas {
    Tensor o;        // [tokens, hidden]
    Tensor q;        // [tokens, heads * qk_head_dim]
    Tensor q_a;      // [tokens, q_lora_rank]
    Tensor q_norm;   // [tokens, q_lora_rank], at the output of q_a_layernorm
    Tensor kv_b;     // [tokens, heads * (qk_nope_head_dim + v_head_dim)]
    Tensor kv_norm;  // [tokens, kv_lora_rank], at the output of kv_a_layernorm
    Tensor kv_a;     // [tokens, kv_lora_rank + qk_rope_head_dim]
  };

  /// Keeps references: config, weights and rope must outlive the layer.
  Mla(const ModelConfig& config, const MlaWeights& weights, const RopeTable& rope);

  /// Whole sequences, causal within each. `saved` null: nothing is kept (evaluation).
  Tensor forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved) const;
  /// dx for dy [tokens, hidden]; fills `deltas`.
  Tensor backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                        const Saved& saved, Deltas& deltas) const;
  /// grads += the gradients of this layer's parameters.
  void backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                       MlaWeights& grads) const;

  /// Appends the tokens of x [tokens, hidden], at positions cache.length onward, to the cache, and attends to
  /// all of it. A few tokens use the absorbed form, which never expands keys and values; many expand them in
  /// blocks: the cheaper in multiplications is taken.
  Tensor forward_cached(const Context& context, const Tensor& x, LatentCacheLayer& cache) const;

 private:
  const ModelConfig& config_;
  const MlaWeights& weights_;
  const RopeTable& rope_;
};

}  // namespace fathom
