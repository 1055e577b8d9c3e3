// Products of small tiles that lie in the nearest caches, in Highway's per-target form (see
// kernels/simd_math-inl.h). A general GEMM packs its operands at every call; the tiles of attention are laid
// out once and used many times.

#if defined(FATHOM_KERNELS_TILE_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_TILE_GEMM_INL_H_
#undef FATHOM_KERNELS_TILE_GEMM_INL_H_
#else
#define FATHOM_KERNELS_TILE_GEMM_INL_H_
#endif

#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Element (row, k) of the left operand is data[row · row_stride + k · k_stride]: a matrix or its transpose.
struct TileLeft {
  const float* data;
  std::int64_t row_stride;
  std::int64_t k_stride;
};

/// Rows of a tile of so many vectors: accumulators fill the registers, 24 of AVX-512's 32, 12 of 16
/// elsewhere.
template <int kVectors>
inline constexpr int kTileRows = (HWY_MAX_BYTES == 64 ? 24 : 12) / kVectors;

/// kRows rows by kVectors vectors of C.
template <int kRows, int kVectors>
HWY_INLINE void TileKernel(std::int64_t k, TileLeft a, const float* HWY_RESTRICT b, std::int64_t b_stride,
                           float* HWY_RESTRICT c, std::int64_t c_stride, bool accumulate) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  VF sum[kRows][kVectors];
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 24
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = accumulate ? hn::LoadU(d, c + r * c_stride + v * lanes) : hn::Zero(d);
  }
  for (std::int64_t i = 0; i < k; ++i) {
    VF row[kVectors];
#pragma GCC unroll 24
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + i * b_stride + v * lanes);
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) {
      const VF factor = hn::Set(d, a.data[r * a.row_stride + i * a.k_stride]);
#pragma GCC unroll 24
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 24
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, c + r * c_stride + v * lanes);
  }
}

/// All rows of kVectors vectors of columns.
template <int kVectors>
HWY_NOINLINE void TileColumns(std::int64_t m, std::int64_t k, TileLeft a, const float* b,
                              std::int64_t b_stride, float* c, std::int64_t c_stride, bool accumulate) {
  const auto left = [&](std::int64_t row) {
    return TileLeft{a.data + row * a.row_stride, a.row_stride, a.k_stride};
  };
  std::int64_t row = 0;
  constexpr int kRows = kTileRows<kVectors>;
  for (; row + kRows <= m; row += kRows)
    TileKernel<kRows, kVectors>(k, left(row), b, b_stride, c + row * c_stride, c_stride, accumulate);
  if constexpr (kRows > 4)
    for (; row + 4 <= m; row += 4)
      TileKernel<4, kVectors>(k, left(row), b, b_stride, c + row * c_stride, c_stride, accumulate);
  for (; row + 2 <= m; row += 2)
    TileKernel<2, kVectors>(k, left(row), b, b_stride, c + row * c_stride, c_stride, accumulate);
  if (row < m) TileKernel<1, kVectors>(k, left(row), b, b_stride, c + row * c_stride, c_stride, accumulate);
}

/// C[m, n] = A[m, k] · B[k, n], added to C where `accumulate`. Columns up to the next whole vector are
/// computed too: rows of B and C are padded.
inline void TileGemm(std::int64_t m, std::int64_t n, std::int64_t k, TileLeft a, const float* b,
                     std::int64_t b_stride, float* c, std::int64_t c_stride, bool accumulate) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(DF()));
  n = (n + lanes - 1) / lanes * lanes;
  std::int64_t column = 0;
  for (; column + 3 * lanes <= n && column + 4 * lanes != n; column += 3 * lanes)
    TileColumns<3>(m, k, a, b + column, b_stride, c + column, c_stride, accumulate);
  for (; column + 2 * lanes <= n; column += 2 * lanes)
    TileColumns<2>(m, k, a, b + column, b_stride, c + column, c_stride, accumulate);
  if (column < n) TileColumns<1>(m, k, a, b + column, b_stride, c + column, c_stride, accumulate);
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void TransposeFour(const float* row0, const float* row1, const float* row2, const float* row3,
                              float* to, std::int64_t to_stride) {
  const float* rows[] = {row0, row1, row2, row3};  // at any byte
  for (std::int64_t i = 0; i < 4; ++i)
    for (std::int64_t r = 0; r < 4; ++r) std::memcpy(to + i * to_stride + r, rows[r] + i, sizeof(float));
}
#else
/// Four rows of four.
HWY_INLINE void TransposeFour(const float* row0, const float* row1, const float* row2, const float* row3,
                              float* to, std::int64_t to_stride) {
  const hn::FixedTag<float, 4> d;
  const auto r0 = hn::LoadU(d, row0);
  const auto r1 = hn::LoadU(d, row1);
  const auto r2 = hn::LoadU(d, row2);
  const auto r3 = hn::LoadU(d, row3);
  const auto low01 = hn::InterleaveLower(d, r0, r1);
  const auto low23 = hn::InterleaveLower(d, r2, r3);
  const auto high01 = hn::InterleaveUpper(d, r0, r1);
  const auto high23 = hn::InterleaveUpper(d, r2, r3);
  hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, to);
  hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, to + to_stride);
  hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, to + 2 * to_stride);
  hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, to + 3 * to_stride);
}
#endif

/// to[i, r] = from[r, i] for `rows` rows of `dim` values; zeros from `rows` to `to_stride`.
inline void Transpose(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t dim, float* to,
                      std::int64_t to_stride) {
  const std::int64_t whole_rows = rows / 4 * 4;
  const std::int64_t whole_dim = dim / 4 * 4;
  for (std::int64_t r = 0; r < whole_rows; r += 4)
    for (std::int64_t i = 0; i < whole_dim; i += 4)
      TransposeFour(from + r * stride + i, from + (r + 1) * stride + i, from + (r + 2) * stride + i,
                    from + (r + 3) * stride + i, to + i * to_stride + r, to_stride);
  for (std::int64_t i = 0; i < dim; ++i) {
    float* out = to + i * to_stride;
    for (std::int64_t r = i < whole_dim ? whole_rows : 0; r < rows; ++r) out[r] = from[r * stride + i];
    std::fill(out + rows, out + to_stride, 0.0F);
  }
}

/// row *= factor; whole vectors, aligned.
inline void ScaleRow(float* row, std::int64_t count, float factor) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < count; i += lanes)
    hn::Store(hn::Mul(hn::Load(d, row + i), hn::Set(d, factor)), d, row + i);
}

/// e^x for x not much above 0, at most 2 ulp off; 0 below -87, where f32 would turn subnormal; NaN kept.
HWY_INLINE VF ExpOfNonPositive(DF d, VF x) {
  const hn::RebindToSigned<DF> di;
  const VF limit = hn::Set(d, -87.0F);
  const VF n = hn::Round(hn::Mul(hn::Max(limit, x), hn::Set(d, 1.44269504F)));
  VF r = hn::NegMulAdd(n, hn::Set(d, 0.693145752F), x);  // ln 2 in two parts: this one times n is exact
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6F), r);
  VF p = hn::Set(d, 1.9875691500e-4F);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1F));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1F));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0F));
  const auto power = hn::ShiftLeft<23>(hn::ConvertTo(di, n));
  const VF scale = hn::BitCast(d, hn::Add(power, hn::BitCast(di, hn::Set(d, 1.0F))));
  return hn::IfThenZeroElse(hn::Lt(x, limit), hn::Mul(p, scale));
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_TILE_GEMM_INL_H_
