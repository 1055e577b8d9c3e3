#include "numerics/coded_blocks.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "numerics/quant_grid_points.h"
#include "numerics/small_float.h"

namespace fathom {
namespace {

template <class T>
T load(const std::uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}
float load_f16(const std::uint8_t* bytes) {
  return load<F16>(bytes).to_float();
}

constexpr std::uint64_t kOnes = 0x0101010101010101U;  // in each of eight bytes

/// Eight positive bytes, of which bit i of `signs` makes byte i negative.
std::uint64_t with_signs(std::uint64_t magnitudes, std::uint64_t signs) {
  const std::uint64_t bits = signs * kOnes & 0x8040201008040201U;  // bit i alone in byte i
  const std::uint64_t minus = (bits + 0x7F * kOnes) >> 7U & kOnes;
  return (magnitudes ^ minus * 0xFF) + minus;  // two's complement, byte by byte
}

void put_eight(std::uint64_t bytes, std::int8_t* codes) {
  for (unsigned i = 0; i < 8; ++i) codes[i] = static_cast<std::int8_t>(bytes >> (8 * i));
}

/// The eighth of eight signs is such that an even number are negative.
unsigned with_eighth_sign(unsigned seven) {
  constexpr unsigned kIsOdd = 0x6996;  // bit i: whether i has an odd number of bits
  return seven | (kIsOdd >> ((seven ^ seven >> 4U) & 15U) & 1U) << 7U;
}

/// Points with a byte for each element, the first lowest: what it stands for.
template <class Word, std::size_t kPoints, std::size_t kLevels>
constexpr std::array<Word, kPoints> unpack_points(const std::array<std::uint16_t, kPoints>& points,
                                                  const std::array<std::uint8_t, kLevels>& levels) {
  constexpr unsigned kBits = 16 / sizeof(Word);
  std::array<Word, kPoints> out{};
  for (std::size_t p = 0; p < kPoints; ++p)
    for (unsigned i = 0; i < sizeof(Word); ++i)
      out[p] |= Word{levels[points[p] >> (kBits * i) & (kBits == 2 ? 3U : 7U)]} << (8 * i);
  return out;
}

constexpr std::array<std::uint8_t, 3> kIq2Levels = {8, 25, 43};
constexpr auto kIq2Xxs = unpack_points<std::uint64_t>(kIq2XxsPoints, kIq2Levels);
constexpr auto kIq2Xs = unpack_points<std::uint64_t>(kIq2XsPoints, kIq2Levels);
constexpr auto kIq2S = unpack_points<std::uint64_t>(kIq2SPoints, kIq2Levels);
constexpr auto kIq3Xxs =
    unpack_points<std::uint32_t>(kIq3XxsPoints, std::array<std::uint8_t, 8>{4, 12, 20, 28, 36, 44, 52, 62});
constexpr auto kIq3S =
    unpack_points<std::uint32_t>(kIq3SPoints, std::array<std::uint8_t, 8>{1, 3, 5, 7, 9, 11, 13, 15});
// -1, 0 and 1, in eighths and with one added, so that they are positive.
constexpr auto kIq1 = unpack_points<std::uint64_t>(kIq1Points, std::array<std::uint8_t, 3>{0, 8, 16});

// d, then for each part four bytes of points and a word: four times seven signs, and a scale of four bits.
void read_iq2_xxs(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  const std::uint8_t* own = block + 2 + 8 * part;
  const auto word = load<std::uint32_t>(own + 4);
  for (std::size_t i = 0; i < 4; ++i)
    put_eight(with_signs(kIq2Xxs[own[i]], with_eighth_sign(word >> (7 * i) & 127U)), out.codes + 8 * i);
  out.scales[0] = out.scales[1] = load_f16(block) * (0.5F + static_cast<float>(word >> 28U)) * 0.25F;
}

/// Two scales of four bits in a byte, as IQ2_XS and IQ2_S have them.
void put_iq2_scales(float d, unsigned scales, CodedPart& out) {
  out.scales[0] = d * (0.5F + static_cast<float>(scales & 15U)) * 0.25F;
  out.scales[1] = d * (0.5F + static_cast<float>(scales >> 4U)) * 0.25F;
}

// d; 32 words of nine bits for a point and seven signs; 8 bytes of scales.
void read_iq2_xs(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  for (std::size_t i = 0; i < 4; ++i) {
    const unsigned word = load<std::uint16_t>(block + 2 + 2 * (4 * part + i));
    put_eight(with_signs(kIq2Xs[word & 511U], with_eighth_sign(word >> 9U)), out.codes + 8 * i);
  }
  put_iq2_scales(load_f16(block), block[66 + part], out);
}

// d; 32 bytes of points; 32 bytes of signs; 8 bytes of two more bits for each of four points; 8 of scales.
void read_iq2_s(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  for (std::size_t i = 0; i < 4; ++i) {
    const unsigned point = block[2 + 4 * part + i] | (block[66 + part] >> (2 * i) & 3U) << 8U;
    put_eight(with_signs(kIq2S[point], block[34 + 4 * part + i]), out.codes + 8 * i);
  }
  put_iq2_scales(load_f16(block), block[74 + part], out);
}

// d; 64 bytes of points; a word for each part as in IQ2_XXS.
void read_iq3_xxs(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  const std::uint8_t* own = block + 2 + 8 * part;
  const auto word = load<std::uint32_t>(block + 66 + 4 * part);
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t eight = kIq3Xxs[own[2 * i]] | std::uint64_t{kIq3Xxs[own[2 * i + 1]]} << 32U;
    put_eight(with_signs(eight, with_eighth_sign(word >> (7 * i) & 127U)), out.codes + 8 * i);
  }
  out.scales[0] = out.scales[1] = load_f16(block) * (0.5F + static_cast<float>(word >> 28U)) * 0.5F;
}

// d; 64 bytes of points; 8 bytes of their ninth bits; 32 bytes of signs; 4 bytes of scales.
void read_iq3_s(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  const std::uint8_t* own = block + 2 + 8 * part;
  const unsigned ninth = static_cast<unsigned>(block[66 + part]) << 8U;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t eight = kIq3S[own[2 * i] | (ninth >> (2 * i) & 256U)] |
                                std::uint64_t{kIq3S[own[2 * i + 1] | (ninth >> (2 * i + 1) & 256U)]} << 32U;
    put_eight(with_signs(eight, block[74 + 4 * part + i]), out.codes + 8 * i);
  }
  const unsigned scale = block[106 + part / 2] >> (part % 2 * 4) & 15U;
  out.scales[0] = out.scales[1] = load_f16(block) * static_cast<float>(1 + 2 * scale);
}

/// Eight values of IQ1: -1, 0 and 1 with an eighth added to all or taken from all, in eighths.
void put_iq1(unsigned point, bool is_minus, std::int8_t* codes) {
  const std::uint64_t less = is_minus ? 9 * kOnes : 7 * kOnes;
  // The highest bits keep bytes from borrowing of one another.
  put_eight(((kIq1[point] | 0x80 * kOnes) - less) ^ 0x80 * kOnes, codes);
}
float iq1_scale(float d, unsigned three_bits) {
  return d * static_cast<float>(2 * three_bits + 1) * 0.125F;
}

// d; 32 bytes of points; a half-word for each part: three bits for each of four points, of the scale, a sign.
void read_iq1_s(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  const unsigned high = load<std::uint16_t>(block + 34 + 2 * part);
  for (std::size_t i = 0; i < 4; ++i)
    put_iq1(block[2 + 4 * part + i] | (high >> (3 * i) & 7U) << 8U, (high & 0x8000U) != 0, out.codes + 8 * i);
  out.scales[0] = out.scales[1] = iq1_scale(load_f16(block), high >> 12U & 7U);
}

// 32 bytes of points; a nibble for each of them: three bits and a sign; four half-words, each with four
// scales of three bits and a quarter of d.
void read_iq1_m(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  for (std::size_t i = 0; i < 4; ++i) {
    const unsigned nibble = block[32 + 2 * part + i / 2] >> (i % 2 * 4) & 15U;
    put_iq1(block[4 * part + i] | (nibble & 7U) << 8U, (nibble & 8U) != 0, out.codes + 8 * i);
  }
  unsigned bits = 0;
  for (std::size_t i = 0; i < 4; ++i)
    bits |= static_cast<unsigned>(load<std::uint16_t>(block + 48 + 2 * i) >> 12U) << (4 * i);
  const float d = std::bit_cast<F16>(static_cast<std::uint16_t>(bits)).to_float();
  const unsigned scales = load<std::uint16_t>(block + 48 + 2 * (part / 2)) >> (part % 2 * 6);
  out.scales[0] = iq1_scale(d, scales & 7U);
  out.scales[1] = iq1_scale(d, scales >> 3U & 7U);
}

// Bytes of five values in base three, so scaled that multiplying by a power of three and taking the product's
// upper end yields each: 32 of values 32 apart, 16 of values 16 apart, four (of four values) four apart; d.
void read_tq1_0(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  constexpr std::array<unsigned, 5> kPowers = {1, 3, 9, 27, 81};
  const auto put = [](const std::uint8_t* bytes, std::size_t count, unsigned power, std::int8_t* codes) {
    for (std::size_t i = 0; i < count; ++i)
      codes[i] = static_cast<std::int8_t>(static_cast<int>((bytes[i] * power & 255U) * 3 >> 8U) - 1);
  };
  if (part < 5) {
    put(block, 32, kPowers[part], out.codes);
  } else if (part < 7) {
    for (std::size_t half = 0; half < 2; ++half)
      put(block + 32, 16, kPowers[2 * (part - 5) + half], out.codes + 16 * half);
  } else {
    put(block + 32, 16, kPowers[4], out.codes);
    for (std::size_t four = 0; four < 4; ++four) put(block + 48, 4, kPowers[four], out.codes + 16 + 4 * four);
  }
  out.scales[0] = out.scales[1] = load_f16(block + 52);
}

// Two bits of each value as in Q2_K; d.
void read_tq2_0(const std::uint8_t* block, std::size_t part, CodedPart& out) {
  for (std::size_t i = 0; i < CodedPart::kValues; ++i) {
    const unsigned code = block[part / 4 * 32 + i] >> (part % 4 * 2) & 3U;
    out.codes[i] = static_cast<std::int8_t>(static_cast<int>(code) - 1);
  }
  out.scales[0] = out.scales[1] = load_f16(block + 64);
}

// An exponent; 16 bytes of E2M1 floats, the lower halves first, here doubled, as their scale is halved.
void read_mxfp4(const std::uint8_t* block, std::size_t /*part*/, CodedPart& out) {
  constexpr std::array<std::int8_t, 16> kLevels = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  for (std::size_t i = 0; i < 16; ++i) {
    out.codes[i] = kLevels[block[1 + i] & 15U];
    out.codes[16 + i] = kLevels[block[1 + i] >> 4U];
  }
  // 2^(exponent - 128), of which the two least are subnormal.
  const std::uint32_t exponent = block[0];
  const std::uint32_t bits = exponent < 2 ? 0x00200000U << exponent : (exponent - 1) << 23U;
  out.scales[0] = out.scales[1] = std::bit_cast<float>(bits);
}

}  // namespace

ReadCodedPart coded_part_reader(DType dtype) {
  switch (dtype) {
    case DType::iq1_s:
      return read_iq1_s;
    case DType::iq1_m:
      return read_iq1_m;
    case DType::iq2_xxs:
      return read_iq2_xxs;
    case DType::iq2_xs:
      return read_iq2_xs;
    case DType::iq2_s:
      return read_iq2_s;
    case DType::iq3_xxs:
      return read_iq3_xxs;
    case DType::iq3_s:
      return read_iq3_s;
    case DType::tq1_0:
      return read_tq1_0;
    case DType::tq2_0:
      return read_tq2_0;
    case DType::mxfp4:
      return read_mxfp4;
    default:
      fail("{} has no decoder", dtype_name(dtype));
  }
}

}  // namespace fathom
