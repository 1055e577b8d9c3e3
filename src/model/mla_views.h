#pragma once

// Tensors of MLA as the attention kernels take them. For Mla's sources only.

#include <algorithm>
#include <cstdint>

#include "kernels/attention.h"
#include "model/config.h"
#include "tensor/tensor.h"

namespace fathom {

/// A [tokens, heads, dim] view from value `begin` of each head's `width` values on.
inline kernels::HeadRows<const float> head_rows(const Tensor& x, std::int64_t heads, std::int64_t begin = 0) {
  const std::int64_t token = x.size() / std::max<std::int64_t>(1, x.dim(0));
  return {x.f32() + begin, token, token / heads};
}
inline kernels::HeadRows<float> head_rows(Tensor& x, std::int64_t heads, std::int64_t begin = 0) {
  const std::int64_t token = x.size() / std::max<std::int64_t>(1, x.dim(0));
  return {x.f32() + begin, token, token / heads};
}

inline kernels::AttentionShape attention_shape(const ModelConfig& config) {
  return {config.num_attention_heads, config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim,
          static_cast<float>(config.softmax_scale())};
}

inline kernels::AttentionInputs attention_inputs(const ModelConfig& config, const Tensor& q, const Tensor& kv,
                                                 const Tensor& kv_a) {
  const std::int64_t heads = config.num_attention_heads;
  return {head_rows(q, heads),
          head_rows(kv, heads),
          {kv_a.f32() + config.kv_lora_rank, kv_a.dim(1), 0},
          head_rows(kv, heads, config.qk_nope_head_dim)};
}

}  // namespace fathom
