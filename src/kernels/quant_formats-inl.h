// How kernels read the block types of GGUF (numerics/quant_blocks.h), in Highway's per-target form (see
// kernels/simd_math-inl.h). A panel is as many rows of weights as a vector has lanes; of each block of their
// columns a format puts down
//
//   steps     [values / 4] vectors of words of four codes of a row: what kernels/quant_dot-inl.h multiplies
//   factors   [values / kGroup][2][rows] scale and offset of a row's group: value = scale · code + offset
//
// Each format offers, for one block of every row, rows being `stride` bytes apart,
//
//   kType, kBlock, kGroup     values of a block, and those under one scale: 16 or 32
//   kUnit                     values that are unpacked by the same instructions: the whole block or a part of
//   it kLargest, kSigned         of the codes kHasOffset                whether offsets are not all zero
//   kMostDots                 tokens up to which multiplying with codes as they are unpacked pays, measured
//   with
//                             vectors of 256 bits: the more of them are under way at once, the fewer
//                             registers unpacking has
//   Factors(p, stride, factors)      puts the factors down
//   Unit(p, stride, unit, sink)      gives sink.step<i>(v) the steps of a unit, those of a group one after
//   another
//
// Nothing outside the blocks is read.

#if defined(FATHOM_KERNELS_QUANT_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_QUANT_FORMATS_INL_H_
#undef FATHOM_KERNELS_QUANT_FORMATS_INL_H_
#else
#define FATHOM_KERNELS_QUANT_FORMATS_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/quant_dot-inl.h"
#include "numerics/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Rows of a panel.
constexpr std::size_t kPanelRows = hn::MaxLanes(DF());

/// 16 bytes of each row: word i holds bytes 4i to 4i + 3 of the lane's row.
struct RowWords {
  VU32 word0;
  VU32 word1;
  VU32 word2;
  VU32 word3;
};

#if HWY_TARGET == HWY_SCALAR

HWY_INLINE RowWords LoadRowWords(const std::uint8_t* p, std::size_t) {
  std::uint32_t words[4];
  std::memcpy(words, p, sizeof(words));
  const DU32 d;
  return {hn::Set(d, words[0]), hn::Set(d, words[1]), hn::Set(d, words[2]), hn::Set(d, words[3])};
}

#else

/// 16 bytes of rows first, first + 4, … in the blocks of 128 bits.
HWY_INLINE VU32 LoadEveryFourth(const std::uint8_t* p, std::size_t stride) {
  const hn::Full128<std::uint32_t> d128;
  const auto load = [&](std::size_t row) HWY_ATTR {
    return hn::BitCast(d128, hn::LoadU(hn::Full128<std::uint8_t>(), p + row * stride));
  };
#if HWY_MAX_BYTES >= 64
  const hn::Full256<std::uint32_t> d256;
  return hn::Combine(DU32(), hn::Combine(d256, load(12), load(8)), hn::Combine(d256, load(4), load(0)));
#elif HWY_MAX_BYTES >= 32
  return hn::Combine(DU32(), load(4), load(0));
#else
  return load(0);
#endif
}

/// Pairs of words of neighbouring rows, the way to their transposition.
HWY_INLINE VU32 LowerPairs(VU32 a, VU32 b) {
  return hn::InterleaveLower(DU32(), a, b);
}
HWY_INLINE VU32 UpperPairs(VU32 a, VU32 b) {
  return hn::InterleaveUpper(DU32(), a, b);
}
using DU64 = hn::Repartition<std::uint64_t, DF>;
HWY_INLINE VU32 LowerFours(VU32 a, VU32 b) {
  return hn::BitCast(DU32(), hn::InterleaveLower(DU64(), hn::BitCast(DU64(), a), hn::BitCast(DU64(), b)));
}
HWY_INLINE VU32 UpperFours(VU32 a, VU32 b) {
  return hn::BitCast(DU32(), hn::InterleaveUpper(DU64(), hn::BitCast(DU64(), a), hn::BitCast(DU64(), b)));
}

HWY_INLINE RowWords LoadRowWords(const std::uint8_t* p, std::size_t stride) {
  const VU32 a = LoadEveryFourth(p, stride);
  const VU32 b = LoadEveryFourth(p + stride, stride);
  const VU32 c = LoadEveryFourth(p + 2 * stride, stride);
  const VU32 e = LoadEveryFourth(p + 3 * stride, stride);
  const VU32 ab = LowerPairs(a, b);
  const VU32 ce = LowerPairs(c, e);
  const VU32 ab_upper = UpperPairs(a, b);
  const VU32 ce_upper = UpperPairs(c, e);
  return {LowerFours(ab, ce), UpperFours(ab, ce), LowerFours(ab_upper, ce_upper),
          UpperFours(ab_upper, ce_upper)};
}

#endif

HWY_INLINE VU32 Bytes(std::uint32_t byte) {
  return hn::Set(DU32(), byte * 0x01010101U);
}
HWY_INLINE VU32 LowNibbles(VU32 v) {
  return hn::And(v, Bytes(0x0F));
}
HWY_INLINE VU32 HighNibbles(VU32 v) {
  return hn::And(hn::ShiftRight<4>(v), Bytes(0x0F));
}
/// Bits [bit, bit + width) of every byte, in its lowest bits.
HWY_INLINE VU32 BitsOfBytes(VU32 v, int bit, int width) {
  return hn::And(hn::ShiftRightSame(v, bit), Bytes((1U << width) - 1U));
}

/// The f16 in the lower or upper half of each lane.
HWY_INLINE VF HalfAsFloat(VU32 half) {
  const DU32 du;
  const DF d;
  const VU32 magnitude = hn::ShiftLeft<13>(hn::And(half, hn::Set(du, 0x7FFFU)));
  const VU32 sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(du, 0x8000U)));
  const VU32 scaled = hn::BitCast(du, hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112F)));
  const DI32 di;
  const auto is_special =
      hn::RebindMask(du, hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, (0x7C00 << 13) - 1)));
  const VU32 special = hn::Or(magnitude, hn::Set(du, 0x7F800000U));
  return hn::BitCast(d, hn::Or(hn::IfThenElse(is_special, special, scaled), sign));
}
HWY_INLINE VF LowerF16(VU32 v) {
  return HalfAsFloat(v);
}
HWY_INLINE VF UpperF16(VU32 v) {
  return HalfAsFloat(hn::ShiftRight<16>(v));
}

/// The f16 of each row at `p`.
HWY_INLINE VF Halves(const std::uint8_t* p, std::size_t stride) {
  return LowerF16(LoadRowWords(p, stride).word0);
}

/// Byte `index` of each lane as a number.
HWY_INLINE VF ByteAsFloat(VU32 v, int index) {
  const VU32 byte = hn::And(hn::ShiftRightSame(v, 8 * index), hn::Set(DU32(), 0xFFU));
  return hn::ConvertTo(DF(), hn::BitCast(DI32(), byte));
}
HWY_INLINE VF SignedByteAsFloat(VU32 v, int index) {
  const VI32 top = hn::BitCast(DI32(), hn::ShiftLeftSame(v, 24 - 8 * index));
  return hn::ConvertTo(DF(), hn::ShiftRight<24>(top));
}

HWY_INLINE VF Times(VF v, float factor) {
  return hn::Mul(v, hn::Set(DF(), factor));
}

/// Steps [kStep, kStep + 4): `map` of each of the words.
template <std::size_t kStep, class Sink, class Map>
HWY_INLINE void PutMapped(Sink& sink, const RowWords& w, const Map& map) {
  sink.template step<kStep>(map(w.word0));
  sink.template step<kStep + 1>(map(w.word1));
  sink.template step<kStep + 2>(map(w.word2));
  sink.template step<kStep + 3>(map(w.word3));
}
template <std::size_t kStep, class Sink, class Map>
HWY_INLINE void PutMapped(Sink& sink, const RowWords& v, const RowWords& w, const Map& map) {
  sink.template step<kStep>(map(v.word0, w.word0));
  sink.template step<kStep + 1>(map(v.word1, w.word1));
  sink.template step<kStep + 2>(map(v.word2, w.word2));
  sink.template step<kStep + 3>(map(v.word3, w.word3));
}
HWY_INLINE void PutFactors(float* factors, std::size_t group, VF scale, VF offset) {
  hn::StoreU(scale, DF(), factors + 2 * group * kPanelRows);
  hn::StoreU(offset, DF(), factors + (2 * group + 1) * kPanelRows);
}

/// Codes of signed formats, shifted where the instruction set wants them unsigned.
HWY_INLINE VU32 SignedCodes(VU32 v) {
  if constexpr (kSignedCodesAreShifted) return hn::Xor(v, Bytes(0x80));
  return v;
}
HWY_INLINE void PutSignedFactors(float* factors, std::size_t group, VF scale) {
  PutFactors(factors, group, scale, Times(scale, kSignedCodesAreShifted ? -128.0F : 0.0F));
}
template <int kBits>
struct UnsignedFormat {
  static constexpr int kLargest = (1 << kBits) - 1;
  static constexpr bool kSigned = false;
  static constexpr bool kHasOffset = true;
};
struct SignedFormat {
  static constexpr int kLargest = kSignedCodesAreShifted ? 255 : 128;
  static constexpr bool kSigned = !kSignedCodesAreShifted;
  static constexpr bool kHasOffset = kSignedCodesAreShifted;
};

// Blocks of 32 values.

struct FormatQ4_0 : UnsignedFormat<4> {
  static constexpr DType kType = DType::q4_0;
  static constexpr std::size_t kBlock = 32;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = kBlock;
  static constexpr int kMostDots = 8;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    const VF scale = Halves(p, stride);
    PutFactors(factors, 0, scale, Times(scale, -8.0F));
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t, Sink& sink) {
    const RowWords q = LoadRowWords(p + 2, stride);
    PutMapped<0>(sink, q, LowNibbles);
    PutMapped<4>(sink, q, HighNibbles);
  }
};

struct FormatQ4_1 : UnsignedFormat<4> {
  static constexpr DType kType = DType::q4_1;
  static constexpr std::size_t kBlock = 32;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = kBlock;
  static constexpr int kMostDots = 8;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    const VU32 head = LoadRowWords(p, stride).word0;
    PutFactors(factors, 0, LowerF16(head), UpperF16(head));
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t, Sink& sink) {
    const RowWords q = LoadRowWords(p + 4, stride);
    PutMapped<0>(sink, q, LowNibbles);
    PutMapped<4>(sink, q, HighNibbles);
  }
};

/// The fifth bits of 32 codes lie together in a word: those of step s, four of them, into bit 4 of its bytes.
HWY_INLINE VU32 FifthBits(VU32 bits, int step) {
  const DU32 du;
  const VU32 four = hn::And(hn::ShiftRightSame(bits, 4 * step), hn::Set(du, 0xFU));
  const hn::RebindToSigned<DU32> di;
  // Copies of them so far apart that bit i comes to the place of byte i.
  const VU32 spread = hn::BitCast(du, hn::Mul(hn::BitCast(di, four), hn::Set(di, 0x00204081)));
  return hn::ShiftLeft<4>(hn::And(spread, Bytes(1)));
}
template <class Sink>
HWY_INLINE void PutFiveBits(Sink& sink, const RowWords& q, VU32 fifth) {
  const RowWords low{FifthBits(fifth, 0), FifthBits(fifth, 1), FifthBits(fifth, 2), FifthBits(fifth, 3)};
  PutMapped<0>(sink, q, low, [](VU32 v, VU32 h) FATHOM_IN_PLACE { return hn::Or(LowNibbles(v), h); });
  const RowWords high{FifthBits(fifth, 4), FifthBits(fifth, 5), FifthBits(fifth, 6), FifthBits(fifth, 7)};
  PutMapped<4>(sink, q, high, [](VU32 v, VU32 h) FATHOM_IN_PLACE { return hn::Or(HighNibbles(v), h); });
}

struct FormatQ5_0 : UnsignedFormat<5> {
  static constexpr DType kType = DType::q5_0;
  static constexpr std::size_t kBlock = 32;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = kBlock;
  static constexpr int kMostDots = 8;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    const VF scale = Halves(p, stride);
    PutFactors(factors, 0, scale, Times(scale, -16.0F));
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t, Sink& sink) {
    const RowWords head = LoadRowWords(p, stride);
    PutFiveBits(sink, LoadRowWords(p + 6, stride),
                hn::Or(hn::ShiftRight<16>(head.word0), hn::ShiftLeft<16>(head.word1)));
  }
};

struct FormatQ5_1 : UnsignedFormat<5> {
  static constexpr DType kType = DType::q5_1;
  static constexpr std::size_t kBlock = 32;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = kBlock;
  static constexpr int kMostDots = 8;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    const VU32 head = LoadRowWords(p, stride).word0;
    PutFactors(factors, 0, LowerF16(head), UpperF16(head));
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t, Sink& sink) {
    PutFiveBits(sink, LoadRowWords(p + 8, stride), LoadRowWords(p, stride).word1);
  }
};

struct FormatQ8_0 : SignedFormat {
  static constexpr DType kType = DType::q8_0;
  static constexpr std::size_t kBlock = 32;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = kBlock;
  static constexpr int kMostDots = 8;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    PutSignedFactors(factors, 0, Halves(p, stride));
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t, Sink& sink) {
    PutMapped<0>(sink, LoadRowWords(p + 2, stride), SignedCodes);
    PutMapped<4>(sink, LoadRowWords(p + 18, stride), SignedCodes);
  }
};

/// The values that 4-bit codes of the IQ4 types stand for.
HWY_INLINE VU32 IQ4Values(VU32 nibbles) {
  alignas(16) static constexpr std::int8_t kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                          1,    13,   25,  38,  53,  69,  89,  113};
#if HWY_TARGET == HWY_SCALAR
  std::uint32_t word = 0;
  for (int byte = 0; byte < 4; ++byte) {
    const std::uint32_t code = hn::GetLane(nibbles) >> (8 * byte) & 0xFU;
    word |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(kValues[code])) << (8 * byte);
  }
  return SignedCodes(hn::Set(DU32(), word));
#else
  const hn::Repartition<std::int8_t, DF> d8;
  return SignedCodes(
      hn::BitCast(DU32(), hn::TableLookupBytes(hn::LoadDup128(d8, kValues), hn::BitCast(d8, nibbles))));
#endif
}
template <std::size_t kStep, class Sink>
HWY_INLINE void PutIQ4(Sink& sink, const RowWords& q) {
  PutMapped<kStep>(sink, q, [](VU32 v) FATHOM_IN_PLACE { return IQ4Values(LowNibbles(v)); });
  PutMapped<kStep + 4>(sink, q, [](VU32 v) FATHOM_IN_PLACE { return IQ4Values(HighNibbles(v)); });
}

struct FormatIQ4_NL : SignedFormat {
  static constexpr DType kType = DType::iq4_nl;
  static constexpr std::size_t kBlock = 32;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = kBlock;
  static constexpr int kMostDots = 8;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    PutSignedFactors(factors, 0, Halves(p, stride));
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t, Sink& sink) {
    PutIQ4<0>(sink, LoadRowWords(p + 2, stride));
  }
};

// Blocks of 256 values.

/// Steps of 32 values.
constexpr std::size_t kSteps = 8;

struct FormatQ2_K : UnsignedFormat<2> {
  static constexpr DType kType = DType::q2_k;
  static constexpr std::size_t kBlock = 256;
  static constexpr std::size_t kGroup = 16;
  static constexpr std::size_t kUnit = 128;
  static constexpr int kMostDots = 2;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    const VU32 both = LoadRowWords(p + 68, stride).word3;
    const VF scale = LowerF16(both);
    const VF least = hn::Neg(UpperF16(both));
    const RowWords scales = LoadRowWords(p, stride);
    const auto put = [&](std::size_t first, VU32 word) HWY_ATTR {
      for (int i = 0; i < 4; ++i)
        PutFactors(factors, first + static_cast<std::size_t>(i),
                   hn::Mul(scale, ByteAsFloat(LowNibbles(word), i)),
                   hn::Mul(least, ByteAsFloat(HighNibbles(word), i)));
    };
    put(0, scales.word0);
    put(4, scales.word1);
    put(8, scales.word2);
    put(12, scales.word3);
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t half, Sink& sink) {
    ForEach<2>([&](auto part) FATHOM_IN_PLACE {
      const RowWords q = LoadRowWords(p + 16 + 32 * half + 16 * part, stride);
      ForEach<4>([&](auto b) FATHOM_IN_PLACE {
        PutMapped<kSteps * b + 4 * part>(
            sink, q, [&](VU32 v) FATHOM_IN_PLACE { return BitsOfBytes(v, 2 * static_cast<int>(b), 2); });
      });
    });
  }
};

struct FormatQ3_K : UnsignedFormat<3> {
  static constexpr DType kType = DType::q3_k;
  static constexpr std::size_t kBlock = 256;
  static constexpr std::size_t kGroup = 16;
  static constexpr std::size_t kUnit = 128;
  static constexpr int kMostDots = 2;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    const VF scale = UpperF16(LoadRowWords(p + 94, stride).word3);
    const RowWords packed = LoadRowWords(p + 92, stride);
    // 16 scales of six bits, 32 too large: four bits of each in words 1 and 2, two in word 3.
    const auto put = [&](std::size_t first, VU32 four, int two) HWY_ATTR {
      const VU32 six = hn::Or(four, hn::ShiftLeft<4>(BitsOfBytes(packed.word3, two, 2)));
      for (int i = 0; i < 4; ++i) {
        const VF own = hn::Mul(scale, hn::Sub(ByteAsFloat(six, i), hn::Set(DF(), 32.0F)));
        PutFactors(factors, first + static_cast<std::size_t>(i), own, Times(own, -4.0F));
      }
    };
    put(0, LowNibbles(packed.word1), 0);
    put(4, LowNibbles(packed.word2), 2);
    put(8, HighNibbles(packed.word1), 4);
    put(12, HighNibbles(packed.word2), 6);
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t half, Sink& sink) {
    ForEach<2>([&](auto part) FATHOM_IN_PLACE {
      const RowWords third = LoadRowWords(p + 16 * part, stride);
      const RowWords q = LoadRowWords(p + 32 + 32 * half + 16 * part, stride);
      ForEach<4>([&](auto b) FATHOM_IN_PLACE {
        PutMapped<kSteps * b + 4 * part>(sink, q, third, [&](VU32 v, VU32 h) FATHOM_IN_PLACE {
          const VU32 bit = BitsOfBytes(h, static_cast<int>(4 * half + b), 1);
          return hn::Or(BitsOfBytes(v, 2 * static_cast<int>(b), 2), hn::ShiftLeft<2>(bit));
        });
      });
    });
  }
};

/// Scales and minima of Q4_K and Q5_K, eight of six bits each in 12 bytes behind their two factors.
HWY_INLINE void PutScalesAndMinima(const std::uint8_t* p, std::size_t stride, float* factors) {
  const RowWords head = LoadRowWords(p, stride);
  const VF scale = LowerF16(head.word0);
  const VF least = hn::Neg(UpperF16(head.word0));
  const auto put = [&](std::size_t first, VU32 scales, VU32 minima) HWY_ATTR {
    for (int i = 0; i < 4; ++i)
      PutFactors(factors, first + static_cast<std::size_t>(i), hn::Mul(scale, ByteAsFloat(scales, i)),
                 hn::Mul(least, ByteAsFloat(minima, i)));
  };
  const VU32 six = Bytes(0x3F);
  const VU32 top = Bytes(0x30);
  put(0, hn::And(head.word1, six), hn::And(head.word2, six));
  put(4, hn::Or(LowNibbles(head.word3), hn::And(hn::ShiftRight<2>(head.word1), top)),
      hn::Or(HighNibbles(head.word3), hn::And(hn::ShiftRight<2>(head.word2), top)));
}

struct FormatQ4_K : UnsignedFormat<4> {
  static constexpr DType kType = DType::q4_k;
  static constexpr std::size_t kBlock = 256;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = 64;
  static constexpr int kMostDots = 8;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    PutScalesAndMinima(p, stride, factors);
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t pair, Sink& sink) {
    const RowWords first = LoadRowWords(p + 16 + 32 * pair, stride);
    const RowWords second = LoadRowWords(p + 32 + 32 * pair, stride);
    PutMapped<0>(sink, first, LowNibbles);
    PutMapped<4>(sink, second, LowNibbles);
    PutMapped<8>(sink, first, HighNibbles);
    PutMapped<12>(sink, second, HighNibbles);
  }
};

struct FormatQ5_K : UnsignedFormat<5> {
  static constexpr DType kType = DType::q5_k;
  static constexpr std::size_t kBlock = 256;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = 64;
  static constexpr int kMostDots = 4;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    PutScalesAndMinima(p, stride, factors);
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t pair, Sink& sink) {
    const RowWords fifth_of_first = LoadRowWords(p + 16, stride);
    const RowWords fifth_of_second = LoadRowWords(p + 32, stride);
    const RowWords first = LoadRowWords(p + 48 + 32 * pair, stride);
    const RowWords second = LoadRowWords(p + 64 + 32 * pair, stride);
    const int bit = static_cast<int>(2 * pair);
    const auto low = [&](VU32 v, VU32 h) FATHOM_IN_PLACE {
      return hn::Or(LowNibbles(v), hn::ShiftLeft<4>(BitsOfBytes(h, bit, 1)));
    };
    const auto high = [&](VU32 v, VU32 h) FATHOM_IN_PLACE {
      return hn::Or(HighNibbles(v), hn::ShiftLeft<4>(BitsOfBytes(h, bit + 1, 1)));
    };
    PutMapped<0>(sink, first, fifth_of_first, low);
    PutMapped<4>(sink, second, fifth_of_second, low);
    PutMapped<8>(sink, first, fifth_of_first, high);
    PutMapped<12>(sink, second, fifth_of_second, high);
  }
};

/// Bits 2 · kPair and the next of every byte, where the upper two of six bits go.
template <int kPair>
HWY_INLINE VU32 SixthBits(VU32 h) {
  return hn::ShiftLeft<4>(BitsOfBytes(h, 2 * kPair, 2));
}

struct FormatQ6_K : UnsignedFormat<6> {
  static constexpr DType kType = DType::q6_k;
  static constexpr std::size_t kBlock = 256;
  static constexpr std::size_t kGroup = 16;
  static constexpr std::size_t kUnit = 128;
  static constexpr int kMostDots = 2;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    const VF scale = UpperF16(LoadRowWords(p + 194, stride).word3);
    const RowWords scales = LoadRowWords(p + 192, stride);
    const auto put = [&](std::size_t first, VU32 word) HWY_ATTR {
      for (int i = 0; i < 4; ++i) {
        const VF own = hn::Mul(scale, SignedByteAsFloat(word, i));
        PutFactors(factors, first + static_cast<std::size_t>(i), own, Times(own, -32.0F));
      }
    };
    put(0, scales.word0);
    put(4, scales.word1);
    put(8, scales.word2);
    put(12, scales.word3);
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t half, Sink& sink) {
    ForEach<2>([&](auto part) FATHOM_IN_PLACE {
      constexpr std::size_t kStep = 4 * part;
      const RowWords low_a = LoadRowWords(p + 64 * half + 16 * part, stride);
      const RowWords low_b = LoadRowWords(p + 64 * half + 32 + 16 * part, stride);
      const RowWords high = LoadRowWords(p + 128 + 32 * half + 16 * part, stride);
      PutMapped<kStep>(sink, low_a, high, [&](VU32 v, VU32 h) FATHOM_IN_PLACE {
        return hn::Or(LowNibbles(v), SixthBits<0>(h));
      });
      PutMapped<kStep + kSteps>(sink, low_b, high, [&](VU32 v, VU32 h) FATHOM_IN_PLACE {
        return hn::Or(LowNibbles(v), SixthBits<1>(h));
      });
      PutMapped<kStep + 2 * kSteps>(sink, low_a, high, [&](VU32 v, VU32 h) FATHOM_IN_PLACE {
        return hn::Or(HighNibbles(v), SixthBits<2>(h));
      });
      PutMapped<kStep + 3 * kSteps>(sink, low_b, high, [&](VU32 v, VU32 h) FATHOM_IN_PLACE {
        return hn::Or(HighNibbles(v), SixthBits<3>(h));
      });
    });
  }
};

struct FormatIQ4_XS : SignedFormat {
  static constexpr DType kType = DType::iq4_xs;
  static constexpr std::size_t kBlock = 256;
  static constexpr std::size_t kGroup = 32;
  static constexpr std::size_t kUnit = 32;
  static constexpr int kMostDots = 8;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    const DU32 du;
    const RowWords head = LoadRowWords(p, stride);
    const VF scale = LowerF16(head.word0);
    for (int block = 0; block < 8; ++block) {
      // Six bits, 32 too large: four of them in the second word, two in the upper half of the first.
      const VU32 four = hn::And(hn::ShiftRightSame(head.word1, 4 * block), hn::Set(du, 0xFU));
      const VU32 two = hn::And(hn::ShiftRightSame(head.word0, 16 + 2 * block), hn::Set(du, 3U));
      const VU32 six = hn::Or(four, hn::ShiftLeft<4>(two));
      PutSignedFactors(factors, static_cast<std::size_t>(block),
                       hn::Mul(scale, hn::Sub(ByteAsFloat(six, 0), hn::Set(DF(), 32.0F))));
    }
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t block, Sink& sink) {
    PutIQ4<0>(sink, LoadRowWords(p + 8 + 16 * block, stride));
  }
};

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_QUANT_FORMATS_INL_H_
