#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/context.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Whether the absorbed form multiplies with the halves that a file stores: both in block types.
bool halves_are_multiplied(const LinearWeight& kv_b_proj);

/// W^UK and W^UV for the absorbed form of MLA where kv_b_proj is stored in a block type. Halves of a file are
/// used as they are. Of a whole matrix W^UV keeps its blocks; queries are multiplied with W^UKᵀ, whose rows
/// are columns of what is stored: its values are laid out the other way round once, in Q8_0, whose error is
/// below that of the activations that it is multiplied with.
class AbsorbedKvB {
 public:
  /// None where kv_b_proj is stored in a plain type or its heads are no whole blocks.
  AbsorbedKvB(const ModelConfig& config, const LinearWeight& kv_b_proj);

  [[nodiscard]] bool defined() const { return k_b_.defined(); }

  /// folded[t, h] = [W^UK_hᵀ · q_nope[t, h]; q_rope[t, h]] (kernels/absorb.h).
  /// @param q       [tokens, heads, qk_nope_head_dim + qk_rope_head_dim]
  /// @param folded  [tokens, heads, kv_lora_rank + qk_rope_head_dim]
  void fold_queries(const Context& context, const float* q, std::int64_t tokens, float* folded) const;
  /// out[t, h] = W^UV_h · attended[t, h].
  /// @param attended  [tokens, heads, kv_lora_rank]
  /// @param out       [tokens, heads, v_head_dim]
  void unfold_values(const Context& context, const float* attended, std::int64_t tokens, float* out) const;

 private:
  const ModelConfig& config_;
  Tensor k_b_;  // [heads, kv_lora_rank, qk_nope_head_dim]
  Tensor v_b_;  // [heads, v_head_dim, kv_lora_rank]
};

}  // namespace fathom
