// Conversions of f32 to stored types, in Highway's per-target form (see kernels/simd_math-inl.h); bit-equal
// with numerics/small_float.h. Each type offers
//
//   Type                       what lies in memory
//   Store(d, v, p), StoreSome(d, v, p, n)   a vector of f32, rounded to nearest, ties to even

#if defined(FATHOM_KERNELS_NARROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_NARROW_INL_H_
#undef FATHOM_KERNELS_NARROW_INL_H_
#else
#define FATHOM_KERNELS_NARROW_INL_H_
#endif

#include "kernels/simd_math-inl.h"

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

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_NARROW_INL_H_
