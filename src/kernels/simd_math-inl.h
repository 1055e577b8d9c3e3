// Vector helpers that the kernels share, in Highway's per-target form: include after kernels/simd.h in a .cpp
// file, use from inside `namespace fathom::kernels::HWY_NAMESPACE` between HWY_BEFORE_NAMESPACE() and
// HWY_AFTER_NAMESPACE().
//
//   Exp(d, x)                   e^x, at most 1 ulp off, right at both ends, NaN kept
//   Sigmoid(d, x)               1 / (1 + e^-x), at most 3 ulp off
//   LoadSome / StoreSome        the first n lanes, for the rest of a loop; touches no memory beyond them
//   Reduce(d, v)                the sum of all lanes, in every target in the order of its lanes
//   ReduceMax(d, v)             their maximum
//   MaxOfArray(x, count)        the largest of an array, -infinity of none
//   Sum(x, count)               sum of an array, f32 in blocks, blocks in double
//   SumSquares(x, count)        of its squares
//   Dot(a, b, count)            inner product in f32, several accumulators

#if defined(FATHOM_KERNELS_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_SIMD_MATH_INL_H_
#undef FATHOM_KERNELS_SIMD_MATH_INL_H_
#else
#define FATHOM_KERNELS_SIMD_MATH_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

/// e^x: x = n·ln 2 + r with |r| <= ln 2 / 2, a polynomial for e^r, and 2^n put together in two factors so
/// that results in the subnormal range come out too.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V limit_high = hn::Set(d, 88.72284F);   // beyond it, infinity
  const V limit_low = hn::Set(d, -103.97208F);  // below it, 0
  const V clamped = hn::Min(hn::Max(x, limit_low), limit_high);
  const V n = hn::Round(hn::Mul(clamped, hn::Set(d, 1.44269504F)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693145752F), clamped);  // ln 2 in two parts: this one times n is exact
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6F), r);

  V p = hn::Set(d, 1.9875691500e-4F);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1F));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1F));
  const V one = hn::Set(d, 1.0F);
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), one);

  const auto whole = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(whole);
  const auto bias = hn::Set(di, 127);
  const V scale_a = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const V scale_b = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(whole, half), bias)));
  V result = hn::Mul(hn::Mul(p, scale_a), scale_b);
  result = hn::IfThenElse(hn::Gt(x, limit_high), hn::Inf(d), result);
  result = hn::IfThenZeroElse(hn::Lt(x, limit_low), result);
  return hn::IfThenElse(hn::IsNaN(x), x, result);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0F);
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V LoadSome(D d, const hn::TFromD<D>* from, std::size_t n) {
  HWY_ALIGN hn::TFromD<D> lanes[hn::MaxLanes(D())] = {};
  std::memcpy(lanes, from, n * sizeof(lanes[0]));  // mapped weights may lie at any byte
  return hn::Load(d, lanes);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void StoreSome(V v, D d, hn::TFromD<D>* to, std::size_t n) {
  HWY_ALIGN hn::TFromD<D> lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  std::memcpy(to, lanes, n * sizeof(lanes[0]));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE hn::TFromD<D> Reduce(D d, V v) {
  return hn::GetLane(hn::SumOfLanes(d, v));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE hn::TFromD<D> ReduceMax(D d, V v) {
  return hn::GetLane(hn::MaxOfLanes(d, v));
}

HWY_INLINE float MaxOfArray(const float* x, std::size_t count) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  VF largest = hn::Set(d, -std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) largest = hn::Max(largest, hn::LoadU(d, x + i));
  float result = ReduceMax(d, largest);
  for (; i < count; ++i) result = std::max(result, x[i]);
  return result;
}

HWY_INLINE float Dot(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, std::size_t count) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  VF sum0 = hn::Zero(d);
  VF sum1 = hn::Zero(d);
  VF sum2 = hn::Zero(d);
  VF sum3 = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
    sum1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), sum1);
    sum2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), sum2);
    sum3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), sum3);
  }
  for (; i + lanes <= count; i += lanes) sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
  if (i < count) sum1 = hn::MulAdd(LoadSome(d, a + i, count - i), LoadSome(d, b + i, count - i), sum1);
  return Reduce(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)));
}

/// Blocks short enough that their f32 sums keep nearly all bits.
inline constexpr std::size_t kSumBlock = 2048;

HWY_INLINE double Sum(const float* x, std::size_t count) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  double total = 0.0;
  for (std::size_t begin = 0; begin < count; begin += kSumBlock) {
    const std::size_t end = std::min(count, begin + kSumBlock);
    VF even = hn::Zero(d);
    VF odd = hn::Zero(d);
    std::size_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      even = hn::Add(even, hn::LoadU(d, x + i));
      odd = hn::Add(odd, hn::LoadU(d, x + i + lanes));
    }
    for (; i < end; i += lanes) even = hn::Add(even, LoadSome(d, x + i, std::min(lanes, end - i)));
    total += static_cast<double>(Reduce(d, hn::Add(even, odd)));
  }
  return total;
}

HWY_INLINE double SumSquares(const float* x, std::size_t count) {
  double total = 0.0;
  for (std::size_t begin = 0; begin < count; begin += kSumBlock)
    total += static_cast<double>(Dot(x + begin, x + begin, std::min(kSumBlock, count - begin)));
  return total;
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_SIMD_MATH_INL_H_
