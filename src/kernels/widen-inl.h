// Loads of stored types as f32, exactly, in Highway's per-target form (see kernels/simd_math-inl.h). Each
// type offers
//
//   Type                       what lies in memory
//   Load(d, p), LoadSome(d, p, n)   a vector of f32, times 1 / kFactor
//   LoadPair(d, p)             two vectors, for less than two loads where the type allows
//   kFactor                    a power of two that the caller multiplies by (folded into a block's scale)

#if defined(FATHOM_KERNELS_WIDEN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_WIDEN_INL_H_
#undef FATHOM_KERNELS_WIDEN_INL_H_
#else
#define FATHOM_KERNELS_WIDEN_INL_H_
#endif

#include "kernels/simd_math-inl.h"
#include "numerics/small_float.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

struct Pair {
  VF first;
  VF second;
};

/// What types do for which there is nothing better.
template <class W>
HWY_INLINE Pair LoadTwo(DF d, const typename W::Type* p) {
  return {W::Load(d, p), W::Load(d, p + hn::Lanes(d))};
}

struct FromF32 {
  using Type = float;
  static constexpr float kFactor = 1.0F;
  static HWY_INLINE VF Load(DF d, const float* p) { return hn::LoadU(d, p); }
  static HWY_INLINE Pair LoadPair(DF d, const Type* p) { return LoadTwo<FromF32>(d, p); }
  static HWY_INLINE VF LoadSome(DF d, const float* p, std::size_t n) {
    return HWY_NAMESPACE::LoadSome(d, p, n);
  }
};

/// The upper half of an f32.
struct FromBf16 {
  using Type = std::uint16_t;
  static constexpr float kFactor = 1.0F;
  static HWY_INLINE VF Load(DF d, const Type* p) { return Widen(d, hn::LoadU(Half(), p)); }
  static HWY_INLINE Pair LoadPair(DF d, const Type* p) { return LoadTwo<FromBf16>(d, p); }
  static HWY_INLINE VF LoadSome(DF d, const Type* p, std::size_t n) {
    return Widen(d, HWY_NAMESPACE::LoadSome(Half(), p, n));
  }

 private:
  using Half = hn::Rebind<std::uint16_t, DF>;
  static HWY_INLINE VF Widen(DF d, hn::Vec<Half> bits) {
    const hn::RebindToUnsigned<DF> wide;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, bits)));
  }
};

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

/// The baseline has no conversions of its own that know infinities: lane by lane, as numerics/ defines them.
template <class Small>
struct FromSmall {
  using Type = decltype(Small::bits);
  static constexpr float kFactor = 1.0F;
  static HWY_INLINE VF Load(DF d, const Type* p) { return LoadSome(d, p, hn::Lanes(d)); }
  static HWY_INLINE Pair LoadPair(DF d, const Type* p) { return LoadTwo<FromSmall>(d, p); }
  static HWY_INLINE VF LoadSome(DF d, const Type* p, std::size_t n) {
    HWY_ALIGN float lanes[hn::MaxLanes(DF())] = {};
    for (std::size_t i = 0; i < n; ++i) {
      Small small;
      std::memcpy(&small.bits, p + i, sizeof(small.bits));
      lanes[i] = small.to_float();
    }
    return hn::Load(d, lanes);
  }
};
using FromF16 = FromSmall<F16>;
using FromF8E4M3 = FromSmall<F8E4M3>;

#else

struct FromF16 {
  using Type = std::uint16_t;
  static constexpr float kFactor = 1.0F;
  static HWY_INLINE VF Load(DF d, const Type* p) { return Widen(d, hn::LoadU(Half(), p)); }
  static HWY_INLINE Pair LoadPair(DF d, const Type* p) { return LoadTwo<FromF16>(d, p); }
  static HWY_INLINE VF LoadSome(DF d, const Type* p, std::size_t n) {
    return Widen(d, HWY_NAMESPACE::LoadSome(Half(), p, n));
  }

 private:
  using Half = hn::Rebind<std::uint16_t, DF>;
  static HWY_INLINE VF Widen(DF d, hn::Vec<Half> bits) {
    return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), bits));
  }
};

/// e4m3 by way of f16: its sign, four exponent and three mantissa bits fit there as they are, subnormals too,
/// with the exponent's bias off by 8. Only its one NaN needs care.
struct FromF8E4M3 {
  using Type = std::int8_t;
  static constexpr float kFactor = 256.0F;
  static HWY_INLINE VF Load(DF d, const Type* p) {
    const hn::Rebind<std::int16_t, DF> half;
    return AsF32(d, AsF16(half, hn::LoadU(Quarter(), p)));
  }
  static HWY_INLINE VF LoadSome(DF d, const Type* p, std::size_t n) {
    const hn::Rebind<std::int16_t, DF> half;
    return AsF32(d, AsF16(half, HWY_NAMESPACE::LoadSome(Quarter(), p, n)));
  }
  static HWY_INLINE Pair LoadPair(DF d, const Type* p) {
    const hn::Repartition<std::int16_t, DF> whole;
    const hn::Half<decltype(whole)> half;
    const auto both = AsF16(whole, hn::LoadU(hn::Rebind<std::int8_t, decltype(whole)>(), p));
    return {AsF32(d, hn::LowerHalf(half, both)), AsF32(d, hn::UpperHalf(half, both))};
  }

 private:
  using Quarter = hn::Rebind<std::int8_t, DF>;
  /// The bits of f16s, 1 / kFactor times the values.
  template <class D16, class Bytes>
  static HWY_INLINE hn::Vec<D16> AsF16(D16 d16, Bytes bytes) {
    const auto placed = hn::ShiftLeft<7>(hn::PromoteTo(d16, bytes));
    const auto value = hn::And(placed, hn::Set(d16, static_cast<std::int16_t>(0xBF80)));
    const auto is_nan = hn::Eq(hn::Add(value, value), hn::Set(d16, std::int16_t{0x7F00}));
    return hn::Or(value, hn::IfThenElseZero(is_nan, hn::Set(d16, std::int16_t{0x7F80})));
  }
  template <class Bits>
  static HWY_INLINE VF AsF32(DF d, Bits f16) {
    return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), f16));
  }
};

#endif

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_WIDEN_INL_H_
