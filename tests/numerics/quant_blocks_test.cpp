#include "numerics/quant_blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "numerics/convert.h"
#include "support/binary_reader.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

constexpr std::array kBlockTypes = {
    DType::q4_0,  DType::q4_1,  DType::q5_0,    DType::q5_1,   DType::q8_0,  DType::iq4_nl,
    DType::q2_k,  DType::q3_k,  DType::q4_k,    DType::q5_k,   DType::q6_k,  DType::iq4_xs,
    DType::iq1_s, DType::iq1_m, DType::iq2_xxs, DType::iq2_xs, DType::iq2_s, DType::iq3_xxs,
    DType::iq3_s, DType::tq1_0, DType::tq2_0,   DType::mxfp4};
constexpr std::int64_t kGoldenBlocks = 24;

TEST(QuantBlocksTest, RandomBlocksDecodeToTheBitsOfTheGgufLibrary) {
  test::BinaryReader reader(test::golden("numerics/goldens/quant_blocks.bin"));
  for (const DType type : kBlockTypes) {
    const std::int64_t count = kGoldenBlocks * block_values(type);
    const auto blocks = reader.next_array<std::uint8_t>(stored_bytes(type, count));
    const auto expected = reader.next_array<float>(static_cast<std::size_t>(count));
    std::vector<float> values(expected.size());
    decode_blocks(type, blocks.data(), count, values.data());
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(expected[i]))
          << dtype_name(type) << " value " << i << ": " << values[i] << ", not " << expected[i];
  }
  EXPECT_TRUE(reader.at_end());
}

TEST(QuantBlocksTest, WideningToF32Decodes) {
  QuantBlock<DType::q8_0> block{F16::from_float(0.5F), {}};
  block.codes[31] = -7;
  std::vector<float> values(32, 1.0F);
  widen_to_f32(&block, DType::q8_0, 32, values.data());
  EXPECT_EQ(values[0], 0.0F);
  EXPECT_EQ(values[31], -3.5F);
}

TEST(QuantBlocksTest, PlainTypesAndPartsOfBlocksAreRefused) {
  EXPECT_EQ(test::error_of([] { decode_blocks(DType::bf16, nullptr, 0, nullptr); }),
            "BF16 is no type of blocks");
  EXPECT_EQ(test::error_of([] { decode_blocks(DType::q4_k, nullptr, 32, nullptr); }),
            "32 values are no whole number of blocks of Q4_K, which hold 256");
}

TEST(QuantBlocksTest, PackedScalesUnpackToThemselves) {
  KScales scales{};
  std::array<std::uint8_t, 16> q3_scales{};
  for (std::size_t i = 0; i < 8; ++i) {
    scales.scales[i] = static_cast<std::uint8_t>(i * 37 % 64);
    scales.mins[i] = static_cast<std::uint8_t>(63 - i * 23 % 64);
  }
  for (std::size_t i = 0; i < 16; ++i) q3_scales[i] = static_cast<std::uint8_t>(i * 29 % 64);
  const KScales back = unpack_k_scales(pack_k_scales(scales));
  EXPECT_EQ(back.scales, scales.scales);
  EXPECT_EQ(back.mins, scales.mins);
  EXPECT_EQ(unpack_q3_scales(pack_q3_scales(q3_scales)), q3_scales);
}

}  // namespace
}  // namespace fathom
