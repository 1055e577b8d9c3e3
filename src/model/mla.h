#pragma once

#include <cstdint>
#include <vector>

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
  /// What the backward pass needs of a forward. Per token, in f32 values:
  /// hidden + 2 q_lora_rank + heads (qk_head_dim + qk_nope_head_dim + 2 v_head_dim + 1) + 2 kv_lora_rank +
  /// qk_rope_head_dim, no tokens × tokens matrix. V2-Lite (2048; 0; 16 heads of 128 + 64, v 128; 512): 12,368
  /// values, 49.5 KB.
  struct Saved {
    Tensor x;               // [tokens, hidden]; shares the caller's storage
    Tensor q_latent;        // [tokens, q_lora_rank], before its norm; undefined without q_lora_rank
    Tensor q_latent_norm;   // [tokens, q_lora_rank], after; undefined without q_lora_rank
    Tensor q;               // [tokens, heads, qk_head_dim], rotated
    Tensor kv_a;            // [tokens, kv_lora_rank + qk_rope_head_dim]: latent before its norm; rotated key
    Tensor kv_latent_norm;  // [tokens, kv_lora_rank], after its norm
    Tensor kv;              // [tokens, heads, qk_nope_head_dim + v_head_dim]: a head's key part and its value
    Tensor attention;       // [tokens, heads, v_head_dim], input of o_proj
    Tensor log_sum_exp;     // [tokens, heads]
  };
  /// Gradients at the outputs of the linear maps: what `backward_weight` multiplies with the saved inputs.
  struct Deltas {
    Tensor o;        // [tokens, hidden]; shares the storage of `dy`, which must stay as it is until then
    Tensor q;        // [tokens, heads, qk_head_dim], at the output of q_b_proj (or q_proj)
    Tensor q_norm;   // [tokens, q_lora_rank], at the output of q_a_layernorm; undefined without q_lora_rank
    Tensor q_a;      // [tokens, q_lora_rank]; undefined without q_lora_rank
    Tensor kv_b;     // [tokens, heads, qk_nope_head_dim + v_head_dim]
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
  /// all of it, each token causally. A few tokens use the absorbed form, which never expands keys and values;
  /// many expand them a few heads at a time: the cheaper in multiplications is taken. The weights may be of
  /// any type that kernels/linear.h multiplies with.
  Tensor forward_cached(const Context& context, const Tensor& x, LatentCacheLayer& cache) const;

 private:
  /// Queries of x, rotated; fills the query parts of `saved` if given.
  Tensor queries(const Context& context, const Tensor& x, const std::vector<std::int64_t>& positions,
                 Saved* saved) const;
  /// W^DKV and W^KR of x, the key rotated: [tokens, kv_lora_rank + qk_rope_head_dim].
  Tensor latents(const Context& context, const Tensor& x, const std::vector<std::int64_t>& positions) const;
  void check_positions(std::int64_t end) const;

  Tensor attend_absorbed(const Context& context, const Tensor& q, const LatentCacheLayer& cache) const;
  Tensor attend_expanded(const Context& context, const Tensor& q, const LatentCacheLayer& cache) const;

  const ModelConfig& config_;
  const MlaWeights& weights_;
  const RopeTable& rope_;
};

}  // namespace fathom
