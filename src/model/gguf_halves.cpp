#include "model/gguf_halves.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "numerics/convert.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

/// out[columns, rows] = the transpose of from[rows, columns].
void transpose(const float* from, std::int64_t rows, std::int64_t columns, float* out) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) out[c * rows + r] = from[r * columns + c];
}

}  // namespace

Tensor join_halves(const ModelConfig& config, const KvHalves& halves) {
  const std::int64_t latent = config.kv_lora_rank;
  const std::int64_t nope = config.qk_nope_head_dim;
  const std::int64_t width = (nope + config.v_head_dim) * latent;  // values of a head
  const bool is_plain = halves.k_b.dtype() == halves.v_b.dtype() && is_plain_float(halves.k_b.dtype());
  Tensor joined = Tensor::empty({config.num_attention_heads * (nope + config.v_head_dim), latent},
                                is_plain ? halves.k_b.dtype() : DType::f16);
  Tensor head = Tensor::empty({nope + config.v_head_dim, latent});
  for (std::int64_t h = 0; h < config.num_attention_heads; ++h) {
    transpose(to_f32(halves.k_b.rows(h, h + 1)).f32(), latent, nope, head.f32());
    const Tensor values = to_f32(halves.v_b.rows(h, h + 1));
    std::copy_n(values.f32(), values.size(), head.f32() + nope * latent);
    std::byte* target = static_cast<std::byte*>(joined.data()) + stored_bytes(joined.dtype(), h * width);
    require(narrow_from_f32(head.f32(), head.size(), joined.dtype(), target),
            "kv_b_proj holds a value too large for {}", dtype_name(joined.dtype()));
  }
  return joined;
}

Tensor key_half(const ModelConfig& config, const Tensor& kv_b) {
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t latent = config.kv_lora_rank;
  const std::int64_t nope = config.qk_nope_head_dim;
  Tensor k_b = Tensor::empty({heads, latent, nope});
  for (std::int64_t h = 0; h < heads; ++h) {
    const std::int64_t first = h * (nope + config.v_head_dim);
    transpose(to_f32(kv_b.rows(first, first + nope)).f32(), nope, latent, k_b.f32() + h * latent * nope);
  }
  return k_b;
}

KvHalves split_into_halves(const ModelConfig& config, const Tensor& kv_b) {
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t latent = config.kv_lora_rank;
  const std::int64_t nope = config.qk_nope_head_dim;
  KvHalves halves{key_half(config, kv_b), Tensor::empty({heads, config.v_head_dim, latent})};
  for (std::int64_t h = 0; h < heads; ++h)
    std::copy_n(kv_b.f32() + (h * (nope + config.v_head_dim) + nope) * latent, config.v_head_dim * latent,
                halves.v_b.f32() + h * config.v_head_dim * latent);
  return halves;
}

}  // namespace fathom
