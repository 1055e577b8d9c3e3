#include "model/absorbed_kv_b.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "kernels/encode_blocks.h"
#include "kernels/quant_linear.h"
#include "kernels/quant_rows.h"
#include "model/gguf_halves.h"

namespace fathom {
namespace {

/// y[t, h] = half[h] · x[t, h], where rows of x and y are parts of longer ones.
/// @param half              [heads, out, in]
/// @param x_width, y_width  from head to head in x and in y
void multiply_heads(const Context& context, const Tensor& half, const float* x, std::int64_t x_width,
                    std::int64_t tokens, float* y, std::int64_t y_width) {
  const std::int64_t heads = half.dim(0);
  const kernels::QuantizedRows rows =
      kernels::quantize_rows(context.pool, x, tokens * heads, half.dim(2), x_width);
  context.pool.parallel_for(static_cast<std::size_t>(heads), [&](std::size_t index) {
    const auto head = static_cast<std::int64_t>(index);
    std::vector<std::int32_t> own(static_cast<std::size_t>(tokens));
    for (std::int64_t t = 0; t < tokens; ++t)
      own[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(t * heads + head);
    const Tensor matrix = half.rows(head, head + 1);
    kernels::quant_product({{matrix.data(), matrix.dtype(), half.dim(1), half.dim(2), nullptr},
                            0,
                            half.dim(1),
                            &rows,
                            own.data(),
                            tokens,
                            y + head * y_width,
                            heads * y_width});
  });
}

}  // namespace

bool halves_are_multiplied(const LinearWeight& kv_b_proj) {
  const KvHalves* halves = kv_b_proj.halves.get();
  return halves != nullptr && is_block_quantized(halves->k_b.dtype()) &&
         is_block_quantized(halves->v_b.dtype());
}

AbsorbedKvB::AbsorbedKvB(const ModelConfig& config, const LinearWeight& kv_b_proj) : config_(config) {
  const std::int64_t nope = config.qk_nope_head_dim;
  const std::int64_t values = config.v_head_dim;
  const std::int64_t latent = config.kv_lora_rank;
  if (halves_are_multiplied(kv_b_proj)) {
    k_b_ = kv_b_proj.halves->k_b;
    v_b_ = kv_b_proj.halves->v_b;
    return;
  }
  const Tensor& whole = kv_b_proj.weight;
  if (!whole.defined() || !is_block_quantized(whole.dtype()) || nope % block_values(DType::q8_0) != 0) return;
  const std::int64_t heads = config.num_attention_heads;
  k_b_ = Tensor::empty({heads, latent, nope}, DType::q8_0);
  v_b_ = Tensor::empty({heads, values, latent}, whole.dtype());
  const Tensor keys = key_half(config, whole);
  kernels::encode_blocks(DType::q8_0, keys.f32(), keys.size(), nullptr, k_b_.data());
  for (std::int64_t head = 0; head < heads; ++head) {
    const std::int64_t first = head * (nope + values);
    const Tensor own = whole.rows(first + nope, first + nope + values);
    std::memcpy(v_b_.rows(head, head + 1).data(), own.data(), own.byte_size());
  }
}

void AbsorbedKvB::fold_queries(const Context& context, const float* q, std::int64_t tokens,
                               float* folded) const {
  const std::int64_t width = config_.latent_dim();
  multiply_heads(context, k_b_, q, config_.qk_head_dim(), tokens, folded, width);
  for (std::int64_t row = 0; row < tokens * config_.num_attention_heads; ++row)
    std::copy_n(q + row * config_.qk_head_dim() + config_.qk_nope_head_dim, config_.qk_rope_head_dim,
                folded + row * width + config_.kv_lora_rank);
}

void AbsorbedKvB::unfold_values(const Context& context, const float* attended, std::int64_t tokens,
                                float* out) const {
  multiply_heads(context, v_b_, attended, config_.kv_lora_rank, tokens, out, config_.v_head_dim);
}

}  // namespace fathom
