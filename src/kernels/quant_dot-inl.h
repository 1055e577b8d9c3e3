// Sums of products of 8-bit codes, in Highway's per-target form (see kernels/simd_math-inl.h). A lane of 32
// bits belongs to one row of weights and holds four codes; `CodeDot` adds to its sum their products with the
// four codes of an activation, which are the same in all lanes.
//
//   CodeDot<kLargest, kSigned>   of weights' codes of at most kLargest, unsigned or signed
//     step<0>(w, a), step<1>(w, a), …, sum<steps>()     a sum begins with step 0
//
// Where the instruction set adds pairs of products in 16 bits, which saturate, sums stay there as long as
// they fit.

#if defined(FATHOM_KERNELS_QUANT_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_QUANT_DOT_INL_H_
#undef FATHOM_KERNELS_QUANT_DOT_INL_H_
#else
#define FATHOM_KERNELS_QUANT_DOT_INL_H_
#endif

#include <cstddef>
#include <type_traits>
#include <utility>

#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Of lambdas that must be inlined: what they capture would otherwise lie in memory.
#undef FATHOM_IN_PLACE
#define FATHOM_IN_PLACE HWY_ATTR __attribute__((always_inline))

template <std::size_t kValue>
using Index = std::integral_constant<std::size_t, kValue>;

/// Calls body(Index<i>()) for i from 0 to kCount - 1.
template <std::size_t kCount, class Body>
HWY_INLINE void ForEach(const Body& body) {
  [&]<std::size_t... kIndices>(std::index_sequence<kIndices...>) FATHOM_IN_PLACE {
    (body(Index<kIndices>()), ...);
  }
  (std::make_index_sequence<kCount>());
}

using DU32 = hn::RebindToUnsigned<DF>;
using VU32 = hn::Vec<DU32>;
using DI32 = hn::RebindToSigned<DF>;
using VI32 = hn::Vec<DI32>;

#if HWY_TARGET == HWY_AVX3_DL

// VNNI multiplies unsigned with signed codes and adds all four products in 32 bits.
constexpr bool kSignedCodesAreShifted = true;  // by 128, which the row's offset takes back

template <int kLargest, bool kSigned>
struct CodeDot {
  VI32 total;
  template <std::size_t kStep>
  HWY_INLINE void step(VU32 w, VU32 a) {
    if constexpr (kStep == 0) total = hn::Zero(DI32());
    // The intrinsic is refused, as Highway's target has all of Ice Lake's extensions but this one's name.
    asm("vpdpbusd %2, %1, %0" : "+v"(total.raw) : "v"(w.raw), "v"(a.raw));
  }
  template <std::size_t kSteps>
  HWY_INLINE VI32 sum() const {
    return total;
  }
};

#elif HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

constexpr bool kSignedCodesAreShifted = false;

#if HWY_TARGET == HWY_SSE4
HWY_INLINE VU32 PairProducts(VU32 w, VU32 a) {
  return VU32{_mm_maddubs_epi16(w.raw, a.raw)};
}
HWY_INLINE VU32 AddPairs(VU32 a, VU32 b) {
  return VU32{_mm_add_epi16(a.raw, b.raw)};
}
HWY_INLINE VI32 WidenPairs(VU32 a) {
  return VI32{_mm_madd_epi16(a.raw, _mm_set1_epi16(1))};
}
HWY_INLINE VU32 Magnitude(VU32 w) {
  return VU32{_mm_abs_epi8(w.raw)};
}
HWY_INLINE VU32 WithSignOf(VU32 a, VU32 w) {
  return VU32{_mm_sign_epi8(a.raw, w.raw)};
}
#elif HWY_TARGET == HWY_AVX2
HWY_INLINE VU32 PairProducts(VU32 w, VU32 a) {
  return VU32{_mm256_maddubs_epi16(w.raw, a.raw)};
}
HWY_INLINE VU32 AddPairs(VU32 a, VU32 b) {
  return VU32{_mm256_add_epi16(a.raw, b.raw)};
}
HWY_INLINE VI32 WidenPairs(VU32 a) {
  return VI32{_mm256_madd_epi16(a.raw, _mm256_set1_epi16(1))};
}
HWY_INLINE VU32 Magnitude(VU32 w) {
  return VU32{_mm256_abs_epi8(w.raw)};
}
HWY_INLINE VU32 WithSignOf(VU32 a, VU32 w) {
  return VU32{_mm256_sign_epi8(a.raw, w.raw)};
}
#else
HWY_INLINE VU32 PairProducts(VU32 w, VU32 a) {
  return VU32{_mm512_maddubs_epi16(w.raw, a.raw)};
}
HWY_INLINE VU32 AddPairs(VU32 a, VU32 b) {
  return VU32{_mm512_add_epi16(a.raw, b.raw)};
}
HWY_INLINE VI32 WidenPairs(VU32 a) {
  return VI32{_mm512_madd_epi16(a.raw, _mm512_set1_epi16(1))};
}
HWY_INLINE VU32 Magnitude(VU32 w) {
  return VU32{_mm512_abs_epi8(w.raw)};
}
HWY_INLINE VU32 WithSignOf(VU32 a, VU32 w) {
  const __m512i zero = _mm512_setzero_si512();
  return VU32{_mm512_mask_sub_epi8(a.raw, _mm512_movepi8_mask(w.raw), zero, a.raw)};
}
#endif

template <int kLargest, bool kSigned>
struct CodeDot {
  VI32 total;
  VU32 narrow;

  template <std::size_t kStep>
  HWY_INLINE void step(VU32 w, VU32 a) {
    if constexpr (kSigned) {
      const VI32 products = WidenPairs(PairProducts(Magnitude(w), WithSignOf(a, w)));
      total = kStep == 0 ? products : hn::Add(total, products);
    } else {
      narrow = kStep % kNarrow == 0 ? PairProducts(w, a) : AddPairs(narrow, PairProducts(w, a));
      // GCC would first make the products of all steps, then find no registers for them.
      asm volatile("" : "+x"(narrow.raw));
      if constexpr (kStep % kNarrow == kNarrow - 1) widen < kStep<kNarrow>();
    }
  }
  template <std::size_t kSteps>
  HWY_INLINE VI32 sum() {
    if constexpr (!kSigned && kSteps % kNarrow != 0) widen<(kSteps < kNarrow)>();
    return total;
  }

 private:
  /// Steps whose sums fit 16 bits: two products of at most kLargest · 127 in each.
  static constexpr std::size_t kNarrow = 32767 / (2 * 127 * kLargest);

  template <bool kIsFirst>
  HWY_INLINE void widen() {
    total = kIsFirst ? WidenPairs(narrow) : hn::Add(total, WidenPairs(narrow));
  }
};

#elif HWY_TARGET == HWY_NEON && HWY_ARCH_ARM_A64

// Activations are signed, and so may be codes: an unsigned one is at most 63, which is the same byte.
constexpr bool kSignedCodesAreShifted = false;

HWY_INLINE int8x16_t AsBytes(VU32 v) {
  return vreinterpretq_s8_u32(v.raw);
}

#if defined(FATHOM_BYTE_PRODUCTS_PASS)

// Adds all four products in 32 bits.
template <int kLargest, bool kSigned>
struct CodeDot {
  static_assert(kLargest <= 127 || kSigned);
  VI32 total;
  template <std::size_t kStep>
  HWY_INLINE void step(VU32 w, VU32 a) {
    if constexpr (kStep == 0) total = hn::Zero(DI32());
    total = VI32(vdotq_s32(total.raw, AsBytes(w), AsBytes(a)));
  }
  template <std::size_t kSteps>
  HWY_INLINE VI32 sum() const {
    return total;
  }
};

#else

// Lanes of 16 bits, of which each row has four, add up a product a step.
template <int kLargest, bool kSigned>
struct CodeDot {
  static_assert(kLargest <= 127 || kSigned);
  int16x8_t narrow_low;  // of the lower two rows
  int16x8_t narrow_high;
  int32x4_t low;  // of each row two
  int32x4_t high;

  template <std::size_t kStep>
  HWY_INLINE void step(VU32 w, VU32 a) {
    const int8x16_t codes = AsBytes(w);
    const int8x16_t values = AsBytes(a);
    if constexpr (kStep % kNarrow == 0) {
      if constexpr (kStep > 0) widen<kStep == kNarrow>();
      narrow_low = vmull_s8(vget_low_s8(codes), vget_low_s8(values));
      narrow_high = vmull_high_s8(codes, values);
    } else {
      narrow_low = vmlal_s8(narrow_low, vget_low_s8(codes), vget_low_s8(values));
      narrow_high = vmlal_high_s8(narrow_high, codes, values);
    }
  }
  template <std::size_t kSteps>
  HWY_INLINE VI32 sum() {
    widen<(kSteps <= kNarrow)>();
    return VI32(vpaddq_s32(low, high));
  }

 private:
  /// Steps whose sums fit 16 bits: a product of at most kLargest · 127 in each.
  static constexpr std::size_t kNarrow = 32767 / (127 * kLargest);

  template <bool kIsFirst>
  HWY_INLINE void widen() {
    low = kIsFirst ? vpaddlq_s16(narrow_low) : vpadalq_s16(low, narrow_low);
    high = kIsFirst ? vpaddlq_s16(narrow_high) : vpadalq_s16(high, narrow_high);
  }
};

#endif

#else

// A baseline in plain multiplications.
constexpr bool kSignedCodesAreShifted = false;

template <int kLargest, bool kSigned>
struct CodeDot {
  VI32 total;
  template <std::size_t kStep>
  HWY_INLINE void step(VU32 w, VU32 a) {
    if constexpr (kStep == 0) total = hn::Zero(DI32());
    add<24>(w, a);
    add<16>(w, a);
    add<8>(w, a);
    add<0>(w, a);
  }
  template <std::size_t kSteps>
  HWY_INLINE VI32 sum() const {
    return total;
  }

 private:
  /// The product of the codes that a shift to the left by kUp puts on top.
  template <int kUp>
  HWY_INLINE void add(VU32 w, VU32 a) {
    const DI32 di;
    const VU32 top = hn::ShiftLeft<kUp>(w);
    VI32 code;
    if constexpr (kSigned) {
      code = hn::ShiftRight<24>(hn::BitCast(di, top));
    } else {
      code = hn::BitCast(di, hn::ShiftRight<24>(top));
    }
    total = hn::Add(total, hn::Mul(code, hn::ShiftRight<24>(hn::BitCast(di, hn::ShiftLeft<kUp>(a)))));
  }
};

#endif

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_QUANT_DOT_INL_H_
