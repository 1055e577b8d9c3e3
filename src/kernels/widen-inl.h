// Loads of stored types as f32, exactly, in Highway's per-target form (see kernels/simd_math-inl.h). Each
// type offers
//
//   Type                          what lies in memory
//   Load(d, p), LoadSome(d, p, n) a vector of f32, times 1 / kFactor
//   kFactor                       a power of two that the caller multiplies by
//
// and for inner products, where more may be left to the caller,
//
//   LoadQuad(d, p, watch)         four vectors of f32, times 1 / kQuadFactor with x as OrderColumns leaves it
//   kColumnsInOrder               whether the four hold the columns as they lie; otherwise
//   OrderColumns(d, x)            puts as many values of x into their order and scale, in place
//   NanWatch                      sees NaNs that LoadQuad turns into numbers: any(), after the last load

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

/// What types share for which there is nothing better.
template <class W, class T>
struct LoadsInOrder {
  struct NanWatch {
    [[nodiscard]] HWY_INLINE bool any() const { return false; }
  };
  class Quad {
   public:
    HWY_INLINE void load(const T* p, NanWatch& /*watch*/) { at_ = p; }
    template <int kPart>
    [[nodiscard]] HWY_INLINE VF part() const {
      const DF d;
      return W::Load(d, at_ + kPart * hn::Lanes(d));
    }

   private:
    const T* at_ = nullptr;
  };
  static constexpr float kFactor = 1.0F;
  static constexpr float kQuadFactor = 1.0F;
  static constexpr bool kColumnsInOrder = true;
};

struct FromF32 : LoadsInOrder<FromF32, float> {
  using Type = float;
  static HWY_INLINE VF Load(DF d, const float* p) { return hn::LoadU(d, p); }
  static HWY_INLINE VF LoadSome(DF d, const float* p, std::size_t n) {
    return HWY_NAMESPACE::LoadSome(d, p, n);
  }
};

/// The upper half of an f32.
struct FromBf16 : LoadsInOrder<FromBf16, std::uint16_t> {
  using Type = std::uint16_t;
  static HWY_INLINE VF Load(DF d, const Type* p) { return Widen(d, hn::LoadU(Half(), p)); }
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
struct FromSmall : LoadsInOrder<FromSmall<Small>, decltype(Small::bits)> {
  using Type = decltype(Small::bits);
  static HWY_INLINE VF Load(DF d, const Type* p) { return LoadSome(d, p, hn::Lanes(d)); }
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

struct FromF16 : LoadsInOrder<FromF16, std::uint16_t> {
  using Type = std::uint16_t;
  static HWY_INLINE VF Load(DF d, const Type* p) { return Widen(d, hn::LoadU(Half(), p)); }
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

  /// Four columns lie in each lane of 32 bits. A code whose exponent is put at the bottom of an f32's counts
  /// as 2^-120 of its value, subnormals too; x takes half of that, and the sums the rest, so that neither
  /// leaves the range of f32 for any |x| between 2^-60 and 2^67.
  static constexpr bool kColumnsInOrder = false;
  static constexpr float kHalfFactor = 0x1p60F;
  static constexpr float kQuadFactor = kHalfFactor;
  class NanWatch {
   public:
    HWY_INLINE NanWatch() : largest_(hn::Zero(Bytes())) {}
    template <class V>
    HWY_INLINE void see(V codes) {
      const Bytes bytes;
      largest_ = hn::Max(largest_, hn::And(hn::BitCast(bytes, codes), hn::Set(bytes, kNan)));
    }
    [[nodiscard]] HWY_INLINE bool any() const {
      const Bytes bytes;
      return !hn::AllFalse(bytes, hn::Eq(largest_, hn::Set(bytes, kNan)));
    }

   private:
    using Bytes = hn::Repartition<std::uint8_t, DF>;
    static constexpr std::uint8_t kNan = 0x7F;  // the only one, either sign
    hn::Vec<Bytes> largest_;
  };
  class Quad {
   public:
    HWY_INLINE Quad() : codes_(hn::Zero(Lanes())) {}
    HWY_INLINE void load(const Type* p, NanWatch& watch) {
      codes_ = hn::BitCast(Lanes(), hn::LoadU(hn::Repartition<std::int8_t, DF>(), p));
      watch.see(codes_);
    }
    /// Of the code in the upper eight bits of a lane the sign stays, and the exponent's last bit goes from 27
    /// to 23.
    template <int kPart>
    [[nodiscard]] HWY_INLINE VF part() const {
      const auto mask = hn::Set(Lanes(), static_cast<std::int32_t>(0x87F00000U));
      const auto at_top = hn::ShiftLeft<24 - 8 * kPart>(codes_);
      return hn::BitCast(DF(), hn::And(hn::ShiftRight<4>(at_top), mask));
    }

   private:
    using Lanes = hn::RebindToSigned<DF>;
    hn::Vec<Lanes> codes_;
  };
  static HWY_INLINE void OrderColumns(DF d, float* x) {
    const std::size_t lanes = hn::Lanes(d);
    const VF factor = hn::Set(d, kHalfFactor);
    VF part0;
    VF part1;
    VF part2;
    VF part3;
    hn::LoadInterleaved4(d, x, part0, part1, part2, part3);
    hn::StoreU(hn::Mul(part0, factor), d, x);
    hn::StoreU(hn::Mul(part1, factor), d, x + lanes);
    hn::StoreU(hn::Mul(part2, factor), d, x + 2 * lanes);
    hn::StoreU(hn::Mul(part3, factor), d, x + 3 * lanes);
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
