#include "kernels/rope.h"

#include <algorithm>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Members a and b of pairs, turned: (a·cos - b·sin, b·cos + a·sin).
HWY_INLINE void Turn(VF& a, VF& b, VF cosine, VF sine) {
  const VF turned = hn::NegMulAdd(b, sine, hn::Mul(a, cosine));
  b = hn::MulAdd(a, sine, hn::Mul(b, cosine));
  a = turned;
}

/// One head's values of one token. `sign` is -1 for the inverse.
void Rotate(float* x, const float* cosines, const float* sines, std::int64_t half, RopePairs pairs,
            float sign) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const VF cosine = hn::LoadU(d, cosines + i);
    const VF sine = hn::Mul(hn::LoadU(d, sines + i), hn::Set(d, sign));
    VF a;
    VF b;
    if (pairs == RopePairs::neighbours) {
      hn::LoadInterleaved2(d, x + 2 * i, a, b);
      Turn(a, b, cosine, sine);
      hn::StoreInterleaved2(a, b, d, x + 2 * i);
    } else {
      a = hn::LoadU(d, x + i);
      b = hn::LoadU(d, x + half + i);
      Turn(a, b, cosine, sine);
      hn::StoreU(a, d, x + i);
      hn::StoreU(b, d, x + half + i);
    }
  }
  const std::int64_t step = pairs == RopePairs::neighbours ? 2 : 1;
  float* second = x + (pairs == RopePairs::neighbours ? 1 : half);
  for (; i < half; ++i) {
    const float a = x[i * step];
    const float b = second[i * step];
    const float sine = sines[i] * sign;
    x[i * step] = a * cosines[i] - b * sine;
    second[i * step] = b * cosines[i] + a * sine;
  }
}

/// Every head of one token.
void RotateHeads(float* x, std::int64_t head_stride, std::int64_t heads, const float* cosines,
                 const float* sines, std::int64_t half, RopePairs pairs, float sign) {
  for (std::int64_t h = 0; h < heads; ++h) Rotate(x + h * head_stride, cosines, sines, half, pairs, sign);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(RotateHeads);

}  // namespace

void rope_rotate(ThreadPool& pool, float* x, std::int64_t token_stride, std::int64_t head_stride,
                 std::int64_t tokens, std::int64_t heads, const RopeAngles& angles,
                 const std::int64_t* positions, RopeDirection direction) {
  const std::int64_t half = angles.dim / 2;
  const float sign = direction == RopeDirection::forward ? 1.0F : -1.0F;
  constexpr std::int64_t kPairsPerItem = 1 << 14;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kPairsPerItem / std::max<std::int64_t>(1, heads * half));
  pool.parallel_ranges(static_cast<std::size_t>(tokens), static_cast<std::size_t>(grain),
                       [&](std::size_t begin, std::size_t end) {
                         const auto rotate = HWY_DYNAMIC_DISPATCH(RotateHeads);
                         for (std::size_t t = begin; t < end; ++t)
                           rotate(x + static_cast<std::int64_t>(t) * token_stride, head_stride, heads,
                                  angles.cosines + positions[t] * half, angles.sines + positions[t] * half,
                                  half, angles.pairs, sign);
                       });
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
