#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "numerics/dtype.h"
#include "numerics/small_float.h"

namespace fathom {

// Types of blocks, laid out as GGUF files store them (the format of ggml), little endian. A block of 32
// values has one scale; a block of 256 is divided into sub-blocks, whose scales are small integers times an
// F16 of the whole block. Where codes are nibbles, a group of 32 (of 64 in K types) values takes half as many
// bytes: low nibbles hold its first half, high nibbles its second.

template <DType type>
struct QuantBlock;

template <>
struct QuantBlock<DType::q4_0> {  // value = d (q - 8)
  F16 d;
  std::array<std::uint8_t, 16> nibbles;
};

template <>
struct QuantBlock<DType::q4_1> {  // value = d q + m
  F16 d;
  F16 m;
  std::array<std::uint8_t, 16> nibbles;
};

template <>
struct QuantBlock<DType::q5_0> {  // value = d (q - 16)
  F16 d;
  std::array<std::uint8_t, 4> fifth_bits;  // bit i of the whole belongs to value i
  std::array<std::uint8_t, 16> nibbles;
};

template <>
struct QuantBlock<DType::q5_1> {  // value = d q + m
  F16 d;
  F16 m;
  std::array<std::uint8_t, 4> fifth_bits;
  std::array<std::uint8_t, 16> nibbles;
};

template <>
struct QuantBlock<DType::q8_0> {  // value = d q
  F16 d;
  std::array<std::int8_t, 32> codes;
};

template <>
struct QuantBlock<DType::iq4_nl> {  // value = d kIq4Values[q]
  F16 d;
  std::array<std::uint8_t, 16> nibbles;
};

template <>
struct QuantBlock<DType::q2_k> {        // value = d scale q - dmin min, in 16 sub-blocks of 16
  std::array<std::uint8_t, 16> scales;  // low nibble: scale; high nibble: min
  std::array<std::uint8_t, 64>
      crumbs;  // [2 groups of 128 values][32 bytes]: bits 2j are of value 32 j + byte
  F16 d;
  F16 dmin;
};

template <>
struct QuantBlock<DType::q3_k> {            // value = d (scale - 32) (q - 4), in 16 sub-blocks of 16
  std::array<std::uint8_t, 32> third_bits;  // bit j of byte i is of value 32 j + i
  std::array<std::uint8_t, 64> crumbs;      // as in Q2_K
  std::array<std::uint8_t, 12> scales;      // 6 bits each: `unpack_q3_scales`
  F16 d;
};

template <>
struct QuantBlock<DType::q4_k> {  // value = d scale q - dmin min, in 8 sub-blocks of 32
  F16 d;
  F16 dmin;
  std::array<std::uint8_t, 12> scales;    // 6 bits each: `unpack_k_scales`
  std::array<std::uint8_t, 128> nibbles;  // [4 groups of 64 values][32 bytes]
};

template <>
struct QuantBlock<DType::q5_k> {  // as Q4_K
  F16 d;
  F16 dmin;
  std::array<std::uint8_t, 12> scales;
  std::array<std::uint8_t, 32> fifth_bits;  // bit j of byte i is of value 32 j + i
  std::array<std::uint8_t, 128> nibbles;
};

template <>
struct QuantBlock<DType::q6_k> {  // value = d scale (q - 32), in 16 sub-blocks of 16
  std::array<std::uint8_t, 128>
      nibbles;                          // [2 groups of 128 values][64 bytes]: low nibbles are of the first 64
  std::array<std::uint8_t, 64> crumbs;  // upper two bits, as in Q2_K
  std::array<std::int8_t, 16> scales;
  F16 d;
};

template <>
struct QuantBlock<DType::iq4_xs> {  // value = d (scale - 32) kIq4Values[q], in 8 sub-blocks of 32
  F16 d;
  std::uint16_t scales_high;               // bits 2i: upper two bits of scale i
  std::array<std::uint8_t, 4> scales_low;  // low nibbles: of even scales
  std::array<std::uint8_t, 128> nibbles;   // [8 sub-blocks][16 bytes]
};

/// What the codes of IQ4_NL and IQ4_XS stand for: near the quantiles of bell-shaped weights.
inline constexpr std::array<std::int8_t, 16> kIq4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                           1,    13,   25,  38,  53,  69,  89,  113};

/// Scales and mins of the 8 sub-blocks of Q4_K and Q5_K, 0 to 63.
struct KScales {
  std::array<std::uint8_t, 8> scales;
  std::array<std::uint8_t, 8> mins;
};
KScales unpack_k_scales(const std::array<std::uint8_t, 12>& packed);
std::array<std::uint8_t, 12> pack_k_scales(const KScales& scales);

/// Scales of the 16 sub-blocks of Q3_K, 0 to 63 (they stand for -32 to 31).
std::array<std::uint8_t, 16> unpack_q3_scales(const std::array<std::uint8_t, 12>& packed);
std::array<std::uint8_t, 12> pack_q3_scales(const std::array<std::uint8_t, 16>& scales);

/// Widens `count` values, whole blocks of `dtype`, to f32: the very bits that the `gguf` library computes.
/// @param source  [count / block_values(dtype)] blocks, aligned for `QuantBlock`
/// @param target  [count]
/// Throws `Error` if `dtype` is a plain type or if `count` is no whole number of blocks.
void decode_blocks(DType dtype, const void* source, std::int64_t count, float* target);

}  // namespace fathom
