// Conversions of f32 to stored types, in Highway's per-target form (see kernels/simd_math-inl.h); bit-equal
// with numerics/small_float.h. Each type offers
//
//   Type                       what lies in memory
//   Store(d, v, p), StoreSome(d, v, p, n)   a vector of f32, rounded to nearest, ties to even
//
// and SmallCodes<Small>(v) gives the codes of a SmallFloat, saturated, in the low bits of 32. For scaling
// there are LargestMagnitude(x, count) and NarrowToE4M3(x, scale, count, codes).

#if defined(FATHOM_KERNELS_NARROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_NARROW_INL_H_
#undef FATHOM_KERNELS_NARROW_INL_H_
#else
#define FATHOM_KERNELS_NARROW_INL_H_
#endif

#include <bit>

#include "kernels/simd_math-inl.h"
#include "numerics/small_float.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

using DU32 = hn::RebindToUnsigned<DF>;
using VU32 = hn::Vec<DU32>;

struct ToF32 {
  using Type = float;
  static HWY_INLINE void Store(DF d, VF v, Type* p) { hn::StoreU(v, d, p); }
  static HWY_INLINE void StoreSome(DF d, VF v, Type* p, std::size_t n) {
    HWY_NAMESPACE::StoreSome(v, d, p, n);
  }
};

/// The bits of `v` rounded to BF16, as an f32: the lower halves are zero.
HWY_INLINE VU32 RoundedToBf16(VF v) {
  const DU32 du;
  const VU32 word = hn::BitCast(du, v);
  const VU32 even = hn::And(hn::ShiftRight<16>(word), hn::Set(du, 1U));
  const VU32 rounded = hn::Add(hn::Add(word, hn::Set(du, 0x7FFFU)), even);
  const VU32 quiet = hn::Or(word, hn::Set(du, 0x400000U));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(v));
  return hn::And(hn::IfThenElse(is_nan, quiet, rounded), hn::Set(du, 0xFFFF0000U));
}

struct ToBf16 {
  using Type = std::uint16_t;
  static HWY_INLINE void Store(DF, VF v, Type* p) { hn::StoreU(Narrow(v), Half(), p); }
  static HWY_INLINE void StoreSome(DF, VF v, Type* p, std::size_t n) {
    HWY_NAMESPACE::StoreSome(Narrow(v), Half(), p, n);
  }

 private:
  using Half = hn::Rebind<std::uint16_t, DF>;
  static HWY_INLINE hn::Vec<Half> Narrow(VF v) {
    return hn::TruncateTo(Half(), hn::ShiftRight<16>(RoundedToBf16(v)));
  }
};

template <typename Bits, int kExponent, int kMantissa, bool kHasInfinity>
HWY_INLINE VU32 SmallCodesOf(SmallFloat<Bits, kExponent, kMantissa, kHasInfinity>, VF v) {
  using Small = SmallFloat<Bits, kExponent, kMantissa, kHasInfinity>;
  constexpr int kDropped = 23 - kMantissa;
  constexpr std::uint32_t kMinNormal = static_cast<std::uint32_t>(127 - Small::kBias + 1) << 23U;
  constexpr std::uint32_t kAligned = static_cast<std::uint32_t>(127 - Small::kBias + 1 + kDropped) << 23U;
  const DF d;
  const DU32 du;
  const VU32 word = hn::BitCast(du, v);
  const VU32 magnitude = hn::And(word, hn::Set(du, 0x7FFFFFFFU));
  const VU32 sign = hn::And(hn::ShiftRight<31 - kExponent - kMantissa>(word), hn::Set(du, Small::kSignBit));

  const VU32 aligned = hn::Set(du, kAligned);
  const VF steps = hn::Add(hn::BitCast(d, magnitude), hn::BitCast(d, aligned));
  const VU32 subnormal = hn::Sub(hn::BitCast(du, steps), aligned);
  const VU32 even = hn::And(hn::ShiftRight<kDropped>(magnitude), hn::Set(du, 1U));
  const VU32 rounded = hn::Add(hn::Add(magnitude, hn::Set(du, (1U << (kDropped - 1)) - 1U)), even);
  const VU32 bias = hn::Set(du, static_cast<std::uint32_t>(127 - Small::kBias) << 23U);
  const VU32 normal = hn::ShiftRight<kDropped>(hn::Sub(rounded, bias));

  VU32 code = hn::IfThenElse(hn::Lt(magnitude, hn::Set(du, kMinNormal)), subnormal, normal);
  code = hn::Min(code, hn::Set(du, Small::kMaxFinite));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(v));
  return hn::Or(hn::IfThenElse(is_nan, hn::Set(du, Small::kNaN), code), sign);
}
template <class Small>
HWY_INLINE VU32 SmallCodes(VF v) {
  return SmallCodesOf(Small(), v);
}

struct ToE4M3 {
  using Type = std::uint8_t;
  static HWY_INLINE void Store(DF, VF v, Type* p) { hn::StoreU(Narrow(v), Quarter(), p); }
  static HWY_INLINE void StoreSome(DF, VF v, Type* p, std::size_t n) {
    HWY_NAMESPACE::StoreSome(Narrow(v), Quarter(), p, n);
  }

 private:
  using Quarter = hn::Rebind<std::uint8_t, DF>;
  static HWY_INLINE hn::Vec<Quarter> Narrow(VF v) { return hn::TruncateTo(Quarter(), SmallCodes<F8E4M3>(v)); }
};

/// Magnitudes as integers: then infinities are above all numbers and NaN above infinities.
HWY_INLINE VU32 Magnitude(VF v) {
  return hn::And(hn::BitCast(DU32(), v), hn::Set(DU32(), 0x7FFFFFFFU));
}

HWY_INLINE float LargestMagnitude(const float* x, std::size_t count) {
  const DF d;
  const DU32 du;
  const std::size_t lanes = hn::Lanes(d);
  VU32 most = hn::Zero(du);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) most = hn::Max(most, Magnitude(hn::LoadU(d, x + i)));
  if (i < count) most = hn::Max(most, Magnitude(LoadSome(d, x + i, count - i)));
  return std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(du, most)));
}

/// codes = x / scale.
HWY_INLINE void NarrowToE4M3(const float* x, float scale, std::size_t count, std::uint8_t* codes) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF divisor = hn::Set(d, scale);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) ToE4M3::Store(d, hn::Div(hn::LoadU(d, x + i), divisor), codes + i);
  if (i < count) ToE4M3::StoreSome(d, hn::Div(LoadSome(d, x + i, count - i), divisor), codes + i, count - i);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_NARROW_INL_H_
