#include "kernels/norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// 1 / rms(x).
double InverseRms(const float* x, std::size_t dim, double eps) {
  return 1.0 / std::sqrt(SumSquares(x, dim) / static_cast<double>(dim) + eps);
}

void NormRow(const float* x, const float* weight, double eps, std::size_t dim, float* y) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF inverse = hn::Set(d, static_cast<float>(InverseRms(x, dim, eps)));
  std::size_t i = 0;
  for (; i + lanes <= dim; i += lanes)
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), inverse), hn::LoadU(d, weight + i)), d, y + i);
  if (i < dim) {
    const std::size_t n = dim - i;
    StoreSome(hn::Mul(hn::Mul(LoadSome(d, x + i, n), inverse), LoadSome(d, weight + i, n)), d, y + i, n);
  }
}

/// Sum of dy · weight · x over a row.
double TripleProduct(const float* dy, const float* weight, const float* x, std::size_t dim) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  double total = 0.0;
  for (std::size_t begin = 0; begin < dim; begin += kSumBlock) {
    const std::size_t end = std::min(dim, begin + kSumBlock);
    VF even = hn::Zero(d);
    VF odd = hn::Zero(d);
    std::size_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      const std::size_t j = i + lanes;
      even = hn::MulAdd(hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, weight + i)), hn::LoadU(d, x + i), even);
      odd = hn::MulAdd(hn::Mul(hn::LoadU(d, dy + j), hn::LoadU(d, weight + j)), hn::LoadU(d, x + j), odd);
    }
    for (; i < end; i += lanes) {
      const std::size_t n = std::min(lanes, end - i);
      even = hn::MulAdd(hn::Mul(LoadSome(d, dy + i, n), LoadSome(d, weight + i, n)), LoadSome(d, x + i, n),
                        even);
    }
    total += static_cast<double>(Reduce(d, hn::Add(even, odd)));
  }
  return total;
}

void NormRowBackward(const float* dy, const float* x, const float* weight, double eps, std::size_t dim,
                     float* dx, bool accumulate) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  // y = w·x·s with s = (mean(x²) + eps)^(-1/2), so dx = s·(w·dy) - x · s³/dim · sum(w·dy·x).
  const double s = InverseRms(x, dim, eps);
  const double pull = s * s * s / static_cast<double>(dim) * TripleProduct(dy, weight, x, dim);
  const VF direct = hn::Set(d, static_cast<float>(s));
  const VF back = hn::Set(d, static_cast<float>(pull));
  for (std::size_t i = 0; i < dim; i += lanes) {
    const std::size_t n = dim - i;
    if (n >= lanes) {
      const VF flow = hn::Mul(hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, weight + i)), direct);
      const VF grad = hn::NegMulAdd(hn::LoadU(d, x + i), back, flow);
      hn::StoreU(accumulate ? hn::Add(hn::LoadU(d, dx + i), grad) : grad, d, dx + i);
    } else {
      const VF flow = hn::Mul(hn::Mul(LoadSome(d, dy + i, n), LoadSome(d, weight + i, n)), direct);
      const VF grad = hn::NegMulAdd(LoadSome(d, x + i, n), back, flow);
      StoreSome(accumulate ? hn::Add(LoadSome(d, dx + i, n), grad) : grad, d, dx + i, n);
    }
  }
}

/// sum[j] += dy[j] · x[j] / rms(x).
void NormRowWeightGradient(const float* dy, const float* x, double eps, std::size_t dim, float* sum) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF inverse = hn::Set(d, static_cast<float>(InverseRms(x, dim, eps)));
  std::size_t i = 0;
  for (; i + lanes <= dim; i += lanes) {
    const VF normal = hn::Mul(hn::LoadU(d, x + i), inverse);
    hn::StoreU(hn::MulAdd(hn::LoadU(d, dy + i), normal, hn::LoadU(d, sum + i)), d, sum + i);
  }
  if (i < dim) {
    const std::size_t n = dim - i;
    const VF normal = hn::Mul(LoadSome(d, x + i, n), inverse);
    StoreSome(hn::MulAdd(LoadSome(d, dy + i, n), normal, LoadSome(d, sum + i, n)), d, sum + i, n);
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(NormRow);
HWY_EXPORT(NormRowBackward);
HWY_EXPORT(NormRowWeightGradient);

/// Rows of one work item: some 16K values, small beside a core's cache and large beside the cost of a
/// hand-over.
std::size_t rows_per_item(std::int64_t dim) {
  constexpr std::int64_t kValues = 16384;
  return static_cast<std::size_t>(std::max<std::int64_t>(1, kValues / std::max<std::int64_t>(1, dim)));
}

}  // namespace

void rmsnorm_forward(ThreadPool& pool, const float* x, std::int64_t x_stride, const float* weight, double eps,
                     std::int64_t tokens, std::int64_t dim, float* y, std::int64_t y_stride) {
  pool.parallel_ranges(
      static_cast<std::size_t>(tokens), rows_per_item(dim), [&](std::size_t begin, std::size_t end) {
        const auto row = HWY_DYNAMIC_DISPATCH(NormRow);
        for (auto t = static_cast<std::int64_t>(begin); t < static_cast<std::int64_t>(end); ++t)
          row(x + t * x_stride, weight, eps, static_cast<std::size_t>(dim), y + t * y_stride);
      });
}

void rmsnorm_backward_input(ThreadPool& pool, const float* dy, std::int64_t dy_stride, const float* x,
                            std::int64_t x_stride, const float* weight, double eps, std::int64_t tokens,
                            std::int64_t dim, float* dx, std::int64_t dx_stride, bool accumulate) {
  pool.parallel_ranges(
      static_cast<std::size_t>(tokens), rows_per_item(dim), [&](std::size_t begin, std::size_t end) {
        const auto row = HWY_DYNAMIC_DISPATCH(NormRowBackward);
        for (auto t = static_cast<std::int64_t>(begin); t < static_cast<std::int64_t>(end); ++t)
          row(dy + t * dy_stride, x + t * x_stride, weight, eps, static_cast<std::size_t>(dim),
              dx + t * dx_stride, accumulate);
      });
}

void rmsnorm_backward_weight(ThreadPool& pool, const float* dy, std::int64_t dy_stride, const float* x,
                             std::int64_t x_stride, double eps, std::int64_t tokens, std::int64_t dim,
                             float* dweight) {
  if (tokens == 0 || dim == 0) return;
  // Each chunk of rows sums into a row of its own; the chunks are then added in their order. Their number is
  // bounded, so that their memory is.
  constexpr std::int64_t kSmallestChunk = 64;
  constexpr std::int64_t kMostChunks = 64;
  const std::int64_t chunk = std::max(kSmallestChunk, (tokens + kMostChunks - 1) / kMostChunks);
  const std::int64_t chunks = (tokens + chunk - 1) / chunk;
  const auto width = static_cast<std::size_t>(dim);
  std::vector<float> sums(static_cast<std::size_t>(chunks) * width);
  pool.parallel_for(static_cast<std::size_t>(chunks), [&](std::size_t index) {
    const auto row = HWY_DYNAMIC_DISPATCH(NormRowWeightGradient);
    const std::int64_t begin = static_cast<std::int64_t>(index) * chunk;
    for (std::int64_t t = begin; t < std::min(tokens, begin + chunk); ++t)
      row(dy + t * dy_stride, x + t * x_stride, eps, width, sums.data() + index * width);
  });
  for (std::size_t j = 0; j < width; ++j) {
    double total = 0.0;
    for (std::int64_t c = 0; c < chunks; ++c)
      total += static_cast<double>(sums[static_cast<std::size_t>(c) * width + j]);
    dweight[j] = static_cast<float>(static_cast<double>(dweight[j]) + total);
  }
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
