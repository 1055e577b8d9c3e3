#pragma once

#include <cstdint>
#include <vector>

#include "model/absorbed_kv_b.h"
#include "model/config.h"
#include "model/context.h"
#include "model/kept.h"
#include "model/latent_cache.h"
#include "model/latent_ring.h"
#include "model/rope.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Multi-head latent attention (technical report, section 2.1.1; equations 1 to 11).
class Mla {
 public:
  /// What the backward pass needs of a forward, beside x. Latent norms and up-projections are computed again
  /// from the latents (technical report, section 3.2.3), so that per token there are q_lora_rank +
  /// kv_lora_rank + qk_rope_head_dim + heads (v_head_dim + 1) values, no tokens × tokens matrix.
  struct Saved {
    Kept q_latent;       // [tokens, q_lora_rank], before its norm; undefined without q_lora_rank
    Kept kv_a;           // [tokens, kv_lora_rank + qk_rope_head_dim]: latent before its norm; rotated key
    Kept attention;      // [tokens, heads, v_head_dim], input of o_proj; E5M6 in FP8
    Tensor log_sum_exp;  // [tokens, heads]
  };
  /// Gradients at the outputs of the linear maps, and the inputs that `backward_weight` multiplies them with
  /// where they were computed again.
  struct Deltas {
    Kept x;               // [tokens, hidden], as the maps of x multiply it
    Kept q_latent_norm;   // [tokens, q_lora_rank], after its norm; undefined without q_lora_rank
    Kept kv_latent_norm;  // [tokens, kv_lora_rank], after its norm

    Tensor o;        // [tokens, hidden]; shares the storage of `dy`, which must stay as it is until then
    Tensor q;        // [tokens, heads, qk_head_dim], at the output of q_b_proj (or q_proj)
    Tensor q_norm;   // [tokens, q_lora_rank], at the output of q_a_layernorm; undefined without q_lora_rank
    Tensor q_a;      // [tokens, q_lora_rank]; undefined without q_lora_rank
    Tensor kv_b;     // [tokens, heads, qk_nope_head_dim + v_head_dim]
    Tensor kv_norm;  // [tokens, kv_lora_rank], at the output of kv_a_layernorm
    Tensor kv_a;     // [tokens, kv_lora_rank + qk_rope_head_dim]

    /// Of keys and values that were made of other ranks' latents (context parallelism): the gradients of
    /// kv_b_proj and kv_a_layernorm themselves, as keeping what they are products of would take as much
    /// memory as those ranks' tokens. Undefined where there are none.
    LinearWeight others_kv_b_proj;
    Tensor others_kv_a_layernorm;
  };

  /// Keeps references: config, weights and rope must outlive the layer.
  Mla(const ModelConfig& config, const MlaWeights& weights, const RopeTable& rope);

  /// Whole sequences, causal within each, or this rank's part of them together with
  /// `Context::sequence_peers`. `saved` null: nothing is kept (evaluation).
  Tensor forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved) const;
  /// dx for dy [tokens, hidden]; fills `deltas`.
  /// @param x  that of `forward`
  Tensor backward_input(const Context& context, const Tensor& x, const Tensor& dy, const Sequences& sequences,
                        const Saved& saved, Deltas& deltas) const;
  /// grads += the gradients of this layer's parameters.
  void backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                       MlaWeights& grads) const;

  /// Appends the tokens of x [tokens, hidden], each sequence's to its cache at positions cache.length onward,
  /// and attends to all of that cache, each token causally. A few tokens use the absorbed form, which never
  /// expands keys and values; many expand them a few heads at a time: of each sequence the cheaper in
  /// multiplications is taken. Linear maps are made of all tokens together, and folded queries of sequences
  /// that follow one another. The weights may be of any type that kernels/linear.h multiplies with.
  Tensor forward_cached(const Context& context, const Tensor& x,
                        const CachedTokens<LatentCacheLayer>& batch) const;
  /// The same of one sequence.
  Tensor forward_cached(const Context& context, const Tensor& x, LatentCacheLayer& cache) const;

 private:
  /// W^DQ of x; undefined without q_lora_rank.
  [[nodiscard]] Tensor query_latents(const Context& context, const Kept& x) const;
  /// Queries, rotated, [tokens, heads, qk_head_dim], from their latents, or from x without q_lora_rank.
  /// @param normed  receives the latents after their norm
  Tensor queries(const Context& context, const Kept& x, const Tensor& latent,
                 const std::vector<std::int64_t>& positions, Kept& normed) const;
  /// q [tokens, heads * qk_head_dim], rotated in place, as [tokens, heads, qk_head_dim].
  [[nodiscard]] Tensor rotated_queries(const Context& context, Tensor q,
                                       const std::vector<std::int64_t>& positions) const;
  /// Rotates the keys behind the latents, in place.
  void rotate_keys(const Context& context, Tensor& kv_a, const std::vector<std::int64_t>& positions) const;
  /// A head's key part and its value, [tokens, heads, qk_nope_head_dim + v_head_dim].
  /// @param kv_a    latents before their norm
  /// @param normed  receives them after it
  Tensor keys_values(const Context& context, const Tensor& kv_a, Kept& normed) const;
  /// W^DKV and W^KR of x, the key rotated: [tokens, kv_lora_rank + qk_rope_head_dim].
  Tensor latents(const Context& context, const Kept& x, const std::vector<std::int64_t>& positions) const;
  void check_positions(std::int64_t end) const;
  /// From gradients at keys and values to those at the latents that they were made of: assigns the latter's
  /// part of rows of `dkv_a`, and returns the gradient at the output of kv_a_layernorm, [tokens,
  /// kv_lora_rank].
  Tensor latent_gradients(const Context& context, const Tensor& dkv, const Tensor& kv_a, Tensor& dkv_a) const;

  /// Adds to what the queries found in this rank's latents what they find in the others'.
  void attend_to_others(const Context& context, const Tensor& q, LatentRing& ring, Tensor& attention,
                        Tensor& log_sum_exp) const;
  /// The backward pass of that: adds to `deltas.q`, fills `deltas.others_...`, and returns the sum of what
  /// the other ranks found out about this one's latents, [tokens, kv_lora_rank + qk_rope_head_dim], keys
  /// rotated.
  struct AttentionResult {
    const Tensor& attention;
    const Tensor& log_sum_exp;
    const Tensor& gradient;  // [tokens, heads, v_head_dim]
  };
  [[nodiscard]] Tensor backward_of_others(const Context& context, const Tensor& q, const Sequences& sequences,
                                          const AttentionResult& result, LatentRing& ring,
                                          Deltas& deltas) const;

  /// In all caches, or (then it throws `Error`) in none.
  void make_room(const CachedTokens<LatentCacheLayer>& batch) const;
  /// Of sequences [first, last), whose queries are in `q`, [tokens, heads, qk_head_dim].
  /// @param out  [tokens, heads, v_head_dim]
  void attend_absorbed(const Context& context, const Tensor& q, const CachedTokens<LatentCacheLayer>& batch,
                       std::int64_t first, std::int64_t last, float* out) const;
  void attend_expanded(const Context& context, const Tensor& q, const LatentCacheLayer& cache,
                       float* out) const;

  const ModelConfig& config_;
  const MlaWeights& weights_;
  const RopeTable& rope_;
  AbsorbedKvB absorbed_kv_b_;
};

}  // namespace fathom
