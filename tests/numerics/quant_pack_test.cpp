#include "numerics/quant_pack.h"

#include <gtest/gtest.h>

#include <array>

namespace fathom {
namespace {

/// 256 codes below `limit` in no order.
std::array<std::uint8_t, 256> mixed_codes(unsigned limit) {
  std::array<std::uint8_t, 256> codes{};
  for (unsigned i = 0; i < 256; ++i) codes[i] = static_cast<std::uint8_t>((i * 167 + i / 7) % limit);
  return codes;
}

TEST(QuantPackTest, PackedCodesDecodeToThemselvesInBlocksOf32) {
  const auto codes = mixed_codes(32);
  QuantBlock<DType::q5_1> block{F16::from_float(1.0F), F16::from_float(0.0F), pack_bits(codes.data(), 4), {}};
  pack_nibbles(codes.data(), 16, block.nibbles.data());
  std::array<float, 32> values{};
  decode_blocks(DType::q5_1, &block, 32, values.data());
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(values[i], codes[i]) << i;
}

TEST(QuantPackTest, PackedCodesDecodeToThemselvesInBlocksOf256) {
  std::array<float, 256> values{};

  const auto fives = mixed_codes(32);
  KScales ones{};
  ones.scales.fill(1);
  QuantBlock<DType::q5_k> q5{
      F16::from_float(1.0F), F16{}, pack_k_scales(ones), pack_bit_planes(fives.data(), 4), {}};
  for (std::size_t i = 0; i < 4; ++i) pack_nibbles(fives.data() + 64 * i, 32, q5.nibbles.data() + 32 * i);
  decode_blocks(DType::q5_k, &q5, 256, values.data());
  for (std::size_t i = 0; i < 256; ++i) EXPECT_EQ(values[i], fives[i]) << i;

  const auto sixes = mixed_codes(64);
  QuantBlock<DType::q6_k> q6{{}, pack_crumbs(sixes.data(), 4), {}, F16::from_float(1.0F)};
  q6.scales.fill(1);
  for (std::size_t i = 0; i < 2; ++i) pack_nibbles(sixes.data() + 128 * i, 64, q6.nibbles.data() + 64 * i);
  decode_blocks(DType::q6_k, &q6, 256, values.data());
  for (std::size_t i = 0; i < 256; ++i) EXPECT_EQ(values[i], sixes[i] - 32) << i;
}

}  // namespace
}  // namespace fathom
