#include "kernels/absorb.h"

#include <algorithm>
#include <cstddef>

#include "kernels/attention_tiles.h"
#include "kernels/weight_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/absorb.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/tile_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// sums[tokens, stride] += q[tokens, rows] · w[rows, stride]; token t's row of q begins at t · q_stride.
void AddRows(const float* q, std::int64_t q_stride, std::int64_t tokens, const float* w, std::int64_t rows,
             std::int64_t stride, float* sums) {
  TileGemm(tokens, stride, rows, {q, q_stride, 1}, w, stride, sums, stride, true);
}

/// out[t · out_stride + r] = w[r] · x[t · x_stride ...].
void DotRows(const float* w, std::int64_t rows, std::int64_t dim, const float* x, std::int64_t x_stride,
             std::int64_t tokens, float* out, std::int64_t out_stride) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t t = 0; t < tokens; ++t)
      out[t * out_stride + r] = Dot(w + r * dim, x + t * x_stride, static_cast<std::size_t>(dim));
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(AddRows);
HWY_EXPORT(DotRows);

/// Rows that are widened at a time: few enough to stay in the nearest cache.
std::int64_t strip_rows(std::int64_t latent) {
  constexpr std::int64_t kValues = 1 << 12;
  return std::max<std::int64_t>(1, kValues / latent);
}

}  // namespace

void absorb_queries(ThreadPool& pool, const AbsorbShape& shape, const WeightMatrix& kv_b, const float* q,
                    std::int64_t tokens, float* folded) {
  const std::int64_t latent = kv_b.in;
  const std::int64_t stride = padded(latent);
  const std::int64_t strip = strip_rows(latent);
  const std::int64_t q_stride = shape.heads * (shape.nope_dim + shape.rope_dim);
  const std::int64_t folded_stride = shape.heads * (latent + shape.rope_dim);
  pool.parallel_for(static_cast<std::size_t>(shape.heads), [&](std::size_t index) {
    const auto head = static_cast<std::int64_t>(index);
    Arena arena(2 * strip * stride + tokens * stride);
    float* widened = arena.take(strip * stride);
    float* copied = arena.take(strip * stride);
    float* sums = arena.take(tokens * stride);
    std::fill_n(sums, tokens * stride, 0.0F);
    const float* from = q + head * (shape.nope_dim + shape.rope_dim);
    const std::int64_t first = head * (shape.nope_dim + shape.v_dim);
    for (std::int64_t row = 0; row < shape.nope_dim; row += strip) {
      const std::int64_t rows = std::min(strip, shape.nope_dim - row);
      const float* w = weight_rows_f32(kv_b, first + row, first + row + rows, widened);
      if (stride != latent) {
        copy_rows(w, latent, rows, latent, copied, stride);
        w = copied;
      }
      HWY_DYNAMIC_DISPATCH(AddRows)(from + row, q_stride, tokens, w, rows, stride, sums);
    }
    float* to = folded + head * (latent + shape.rope_dim);
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::copy_n(sums + t * stride, latent, to + t * folded_stride);
      std::copy_n(from + t * q_stride + shape.nope_dim, shape.rope_dim, to + t * folded_stride + latent);
    }
  });
}

void expand_values(ThreadPool& pool, const AbsorbShape& shape, const WeightMatrix& kv_b,
                   const float* attended, std::int64_t tokens, float* out) {
  const std::int64_t latent = kv_b.in;
  const std::int64_t strip = strip_rows(latent);
  pool.parallel_for(static_cast<std::size_t>(shape.heads), [&](std::size_t index) {
    const auto head = static_cast<std::int64_t>(index);
    Arena arena(padded(strip * latent));
    float* widened = arena.take(strip * latent);
    const std::int64_t first = head * (shape.nope_dim + shape.v_dim) + shape.nope_dim;
    for (std::int64_t row = 0; row < shape.v_dim; row += strip) {
      const std::int64_t rows = std::min(strip, shape.v_dim - row);
      HWY_DYNAMIC_DISPATCH(DotRows)
      (weight_rows_f32(kv_b, first + row, first + row + rows, widened), rows, latent,
       attended + head * latent, shape.heads * latent, tokens, out + head * shape.v_dim + row,
       shape.heads * shape.v_dim);
    }
  });
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
