#include "numerics/quant_blocks.h"

#include "base/error.h"
#include "numerics/coded_blocks.h"

namespace fathom {
namespace {

template <DType type>
constexpr std::size_t kBlockSize = sizeof(QuantBlock<type>);
static_assert(kBlockSize<DType::q4_0> == 18 && kBlockSize<DType::q4_1> == 20);
static_assert(kBlockSize<DType::q5_0> == 22 && kBlockSize<DType::q5_1> == 24);
static_assert(kBlockSize<DType::q8_0> == 34 && kBlockSize<DType::iq4_nl> == 18);
static_assert(kBlockSize<DType::q2_k> == 84 && kBlockSize<DType::q3_k> == 110);
static_assert(kBlockSize<DType::q4_k> == 144 && kBlockSize<DType::q5_k> == 176);
static_assert(kBlockSize<DType::q6_k> == 210 && kBlockSize<DType::iq4_xs> == 136);

/// Code `i` of a group of `2 * half` nibbles.
int nibble(const std::uint8_t* bytes, std::size_t half, std::size_t i) {
  return i < half ? bytes[i] & 15 : bytes[i - half] >> 4;
}

/// Bit `i % 32 * 8 + i / 32` of 32 bytes: one bit of each of 256 values.
int plane_bit(const std::array<std::uint8_t, 32>& bytes, std::size_t i) {
  return bytes[i % 32] >> (i / 32) & 1;
}

/// Two bits of value `i` of 256.
int crumb(const std::array<std::uint8_t, 64>& bytes, std::size_t i) {
  return bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

int fifth_bit(const std::array<std::uint8_t, 4>& bytes, std::size_t i) {
  return (bytes[i / 8] >> (i % 8) & 1) << 4;
}

void decode(const QuantBlock<DType::q4_0>& block, float* target) {
  const float d = block.d.to_float();
  for (std::size_t i = 0; i < 32; ++i)
    target[i] = d * static_cast<float>(nibble(block.nibbles.data(), 16, i) - 8);
}

void decode(const QuantBlock<DType::q4_1>& block, float* target) {
  const float d = block.d.to_float();
  const float m = block.m.to_float();
  for (std::size_t i = 0; i < 32; ++i)
    target[i] = d * static_cast<float>(nibble(block.nibbles.data(), 16, i)) + m;
}

void decode(const QuantBlock<DType::q5_0>& block, float* target) {
  const float d = block.d.to_float();
  for (std::size_t i = 0; i < 32; ++i) {
    const int code = nibble(block.nibbles.data(), 16, i) | fifth_bit(block.fifth_bits, i);
    target[i] = d * static_cast<float>(code - 16);
  }
}

void decode(const QuantBlock<DType::q5_1>& block, float* target) {
  const float d = block.d.to_float();
  const float m = block.m.to_float();
  for (std::size_t i = 0; i < 32; ++i) {
    const int code = nibble(block.nibbles.data(), 16, i) | fifth_bit(block.fifth_bits, i);
    target[i] = d * static_cast<float>(code) + m;
  }
}

void decode(const QuantBlock<DType::q8_0>& block, float* target) {
  const float d = block.d.to_float();
  for (std::size_t i = 0; i < 32; ++i) target[i] = d * static_cast<float>(block.codes[i]);
}

void decode(const QuantBlock<DType::iq4_nl>& block, float* target) {
  const float d = block.d.to_float();
  for (std::size_t i = 0; i < 32; ++i) {
    const auto code = static_cast<std::size_t>(nibble(block.nibbles.data(), 16, i));
    target[i] = d * static_cast<float>(kIq4Values[code]);
  }
}

void decode(const QuantBlock<DType::q2_k>& block, float* target) {
  const float d = block.d.to_float();
  const float dmin = block.dmin.to_float();
  for (std::size_t i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(block.scales[i / 16] & 15);
    const float min = dmin * static_cast<float>(block.scales[i / 16] >> 4);
    target[i] = scale * static_cast<float>(crumb(block.crumbs, i)) - min;
  }
}

void decode(const QuantBlock<DType::q3_k>& block, float* target) {
  const float d = block.d.to_float();
  const auto scales = unpack_q3_scales(block.scales);
  for (std::size_t i = 0; i < 256; ++i) {
    const int code = crumb(block.crumbs, i) | plane_bit(block.third_bits, i) << 2;
    target[i] = d * static_cast<float>(scales[i / 16] - 32) * static_cast<float>(code - 4);
  }
}

void decode(const QuantBlock<DType::q4_k>& block, float* target) {
  const float d = block.d.to_float();
  const float dmin = block.dmin.to_float();
  const auto [scales, mins] = unpack_k_scales(block.scales);
  for (std::size_t i = 0; i < 256; ++i) {
    const int code = nibble(block.nibbles.data() + i / 64 * 32, 32, i % 64);
    target[i] = d * scales[i / 32] * static_cast<float>(code) - dmin * mins[i / 32];
  }
}

void decode(const QuantBlock<DType::q5_k>& block, float* target) {
  const float d = block.d.to_float();
  const float dmin = block.dmin.to_float();
  const auto [scales, mins] = unpack_k_scales(block.scales);
  for (std::size_t i = 0; i < 256; ++i) {
    const int code = nibble(block.nibbles.data() + i / 64 * 32, 32, i % 64) | plane_bit(block.fifth_bits, i)
                                                                                  << 4;
    target[i] = d * scales[i / 32] * static_cast<float>(code) - dmin * mins[i / 32];
  }
}

void decode(const QuantBlock<DType::q6_k>& block, float* target) {
  const float d = block.d.to_float();
  for (std::size_t i = 0; i < 256; ++i) {
    const int code = nibble(block.nibbles.data() + i / 128 * 64, 64, i % 128) | crumb(block.crumbs, i) << 4;
    target[i] = d * static_cast<float>(block.scales[i / 16]) * static_cast<float>(code - 32);
  }
}

void decode(const QuantBlock<DType::iq4_xs>& block, float* target) {
  const float d = block.d.to_float();
  for (std::size_t i = 0; i < 256; ++i) {
    const std::size_t sub = i / 32;
    const int scale = (block.scales_low[sub / 2] >> (sub % 2 * 4) & 15) | (block.scales_high >> (2 * sub) & 3)
                                                                              << 4;
    const auto code = static_cast<std::size_t>(nibble(block.nibbles.data() + sub * 16, 16, i % 32));
    target[i] = d * static_cast<float>(scale - 32) * static_cast<float>(kIq4Values[code]);
  }
}

template <DType type>
void decode_all(const void* source, std::int64_t count, float* target) {
  const auto* blocks = static_cast<const QuantBlock<type>*>(source);
  const std::int64_t values = block_values(type);
  for (std::int64_t i = 0; i < count / values; ++i) decode(blocks[i], target + i * values);
}

void decode_parts(DType dtype, const void* source, std::int64_t count, float* target) {
  const ReadCodedPart read = coded_part_reader(dtype);
  const auto* block = static_cast<const std::uint8_t*>(source);
  const auto parts = static_cast<std::size_t>(block_values(dtype)) / CodedPart::kValues;
  CodedPart part;
  for (std::int64_t left = count / block_values(dtype); left > 0; --left, block += block_bytes(dtype))
    for (std::size_t p = 0; p < parts; ++p) {
      read(block, p, part);
      for (std::size_t i = 0; i < CodedPart::kValues; ++i)
        *target++ = part.scales[i / 16] * static_cast<float>(part.codes[i]);
    }
}

}  // namespace

// Bytes 0 to 3 hold scales 0 to 3 in their low six bits, bytes 4 to 7 mins 0 to 3; bytes 8 to 11 hold the low
// four bits of scales (low nibble) and mins (high nibble) 4 to 7, whose upper two bits top bytes 0 to 7.
KScales unpack_k_scales(const std::array<std::uint8_t, 12>& packed) {
  KScales out{};
  for (std::size_t i = 0; i < 4; ++i) {
    out.scales[i] = packed[i] & 63;
    out.mins[i] = packed[4 + i] & 63;
    out.scales[4 + i] = static_cast<std::uint8_t>((packed[8 + i] & 15) | (packed[i] >> 6) << 4);
    out.mins[4 + i] = static_cast<std::uint8_t>(packed[8 + i] >> 4 | (packed[4 + i] >> 6) << 4);
  }
  return out;
}

std::array<std::uint8_t, 12> pack_k_scales(const KScales& from) {
  std::array<std::uint8_t, 12> packed{};
  for (std::size_t i = 0; i < 4; ++i) {
    packed[i] = static_cast<std::uint8_t>(from.scales[i] | (from.scales[4 + i] >> 4) << 6);
    packed[4 + i] = static_cast<std::uint8_t>(from.mins[i] | (from.mins[4 + i] >> 4) << 6);
    packed[8 + i] = static_cast<std::uint8_t>((from.scales[4 + i] & 15) | (from.mins[4 + i] & 15) << 4);
  }
  return packed;
}

// Bytes 0 to 7 hold the low four bits of scale i (low nibble) and i + 8 (high nibble); bits 2j of byte 8 + i
// hold the upper two bits of scale 4j + i.
std::array<std::uint8_t, 16> unpack_q3_scales(const std::array<std::uint8_t, 12>& packed) {
  std::array<std::uint8_t, 16> scales{};
  for (std::size_t i = 0; i < 16; ++i) {
    const int low = nibble(packed.data(), 8, i);
    const int high = packed[8 + i % 4] >> (i / 4 * 2) & 3;
    scales[i] = static_cast<std::uint8_t>(low | high << 4);
  }
  return scales;
}

std::array<std::uint8_t, 12> pack_q3_scales(const std::array<std::uint8_t, 16>& scales) {
  std::array<std::uint8_t, 12> packed{};
  for (std::size_t i = 0; i < 16; ++i) {
    packed[i % 8] |= static_cast<std::uint8_t>((scales[i] & 15) << (i / 8 * 4));
    packed[8 + i % 4] |= static_cast<std::uint8_t>((scales[i] >> 4) << (i / 4 * 2));
  }
  return packed;
}

void decode_blocks(DType dtype, const void* source, std::int64_t count, float* target) {
  require(is_block_quantized(dtype), "{} is no type of blocks", dtype_name(dtype));
  require(count % block_values(dtype) == 0, "{} values are no whole number of blocks of {}, which hold {}",
          count, dtype_name(dtype), block_values(dtype));
  switch (dtype) {
    case DType::q4_0:
      return decode_all<DType::q4_0>(source, count, target);
    case DType::q4_1:
      return decode_all<DType::q4_1>(source, count, target);
    case DType::q5_0:
      return decode_all<DType::q5_0>(source, count, target);
    case DType::q5_1:
      return decode_all<DType::q5_1>(source, count, target);
    case DType::q8_0:
      return decode_all<DType::q8_0>(source, count, target);
    case DType::iq4_nl:
      return decode_all<DType::iq4_nl>(source, count, target);
    case DType::q2_k:
      return decode_all<DType::q2_k>(source, count, target);
    case DType::q3_k:
      return decode_all<DType::q3_k>(source, count, target);
    case DType::q4_k:
      return decode_all<DType::q4_k>(source, count, target);
    case DType::q5_k:
      return decode_all<DType::q5_k>(source, count, target);
    case DType::q6_k:
      return decode_all<DType::q6_k>(source, count, target);
    case DType::iq4_xs:
      return decode_all<DType::iq4_xs>(source, count, target);
    default:
      return decode_parts(dtype, source, count, target);
  }
}

}  // namespace fathom
