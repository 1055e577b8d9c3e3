#include "numerics/block_scale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/error.h"
#include "support/binary_reader.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

constexpr std::int64_t kRows = 131;
constexpr std::int64_t kColumns = 150;
constexpr std::size_t kSize = kRows * kColumns;

/// The weight of goldens/make_block_scale.py.
std::vector<float> golden_weight() {
  std::vector<float> values(kSize);
  for (std::uint32_t i = 0; i < kSize; ++i) {
    const std::int64_t row = i / kColumns;
    const std::int64_t column = i % kColumns;
    values[i] = static_cast<float>(static_cast<std::int32_t>(i * 2654435761U)) * 0x1p-31F;
    if (column >= 128) values[i] *= 0x1p-20F;
    if (row >= 128 && column < 128) values[i] *= 448.0F;
  }
  values[128 * kColumns + 3] = 448.0F;
  return values;
}

TEST(BlockScaleTest, CodesAndScalesEqualPyTorchWithPartialEdgeBlocks) {
  test::BinaryReader reader(test::golden("numerics/goldens/block_scale.bin"));
  const std::vector<float> values = golden_weight();
  for (const ScaleFormat format : {ScaleFormat::f32, ScaleFormat::power_of_two}) {
    const auto expected_scales = reader.next_array<float>(4);
    const auto expected_codes = reader.next_array<std::uint8_t>(kSize);
    std::vector<F8E4M3> codes(kSize);
    std::vector<float> scales(4);
    quantize_blocks(values.data(), kRows, kColumns, format, codes.data(), scales.data());
    EXPECT_EQ(scales, expected_scales);
    for (std::size_t i = 0; i < kSize; ++i) ASSERT_EQ(codes[i].bits, expected_codes[i]) << i;
  }
  EXPECT_TRUE(reader.at_end());
}

TEST(BlockScaleTest, DequantisedValueIsCodeTimesScaleOfItsBlock) {
  const std::vector<float> values = golden_weight();
  std::vector<F8E4M3> codes(kSize);
  std::vector<float> scales(4);
  quantize_blocks(values.data(), kRows, kColumns, ScaleFormat::f32, codes.data(), scales.data());
  std::vector<float> back(kSize);
  dequantize_blocks(codes.data(), scales.data(), kRows, kColumns, back.data());
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (std::int64_t column = 0; column < kColumns; ++column) {
      const auto i = static_cast<std::size_t>(row * kColumns + column);
      const float scale = scales[static_cast<std::size_t>(row / 128 * 2 + column / 128)];
      ASSERT_EQ(back[i], codes[i].to_float() * scale) << row << ", " << column;
    }
  }
}

TEST(BlockScaleTest, ScaleHasAFloorAndPowersOfTwoRoundUp) {
  EXPECT_EQ(block_scale(448.0F, ScaleFormat::f32), 1.0F);
  EXPECT_EQ(block_scale(0.0F, ScaleFormat::f32), 1e-4F / 448.0F);
  EXPECT_EQ(block_scale(448.0F, ScaleFormat::power_of_two), 1.0F);  // already a power of two
  EXPECT_EQ(block_scale(448.1F, ScaleFormat::power_of_two), 2.0F);
  EXPECT_EQ(block_scale(224.0F, ScaleFormat::power_of_two), 0.5F);
  EXPECT_EQ(block_scale(0.0F, ScaleFormat::power_of_two), 0x1p-22F);
}

TEST(BlockScaleTest, ZerosStayZerosAndNoBlockIsNeededForNoRows) {
  std::vector<float> zeros(9, 0.0F);
  std::vector<F8E4M3> codes(9, F8E4M3{1});
  float scale = 0.0F;
  quantize_blocks(zeros.data(), 3, 3, ScaleFormat::f32, codes.data(), &scale);
  for (const F8E4M3 code : codes) EXPECT_EQ(code.bits, 0);
  scale = 7.0F;
  quantize_blocks(nullptr, 0, 3, ScaleFormat::f32, nullptr, &scale);
  EXPECT_EQ(scale, 7.0F);
}

TEST(BlockScaleTest, ValuesThatHaveNoScaleAreRefusedWithTheirPlace) {
  std::vector<F8E4M3> codes(kSize);
  std::vector<float> scales(4);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), -HUGE_VALF}) {
    std::vector<float> values = golden_weight();
    values[5 * kColumns + 140] = bad;
    try {
      quantize_blocks(values.data(), kRows, kColumns, ScaleFormat::f32, codes.data(), scales.data());
      FAIL() << bad << " was quantised";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "a NaN or infinite value in rows 0 to 127, columns 128 to 149");
    }
  }
}

TEST(BlockScaleTest, BlocksCoverEverySize) {
  EXPECT_EQ(scale_blocks(0), 0);
  EXPECT_EQ(scale_blocks(1), 1);
  EXPECT_EQ(scale_blocks(128), 1);
  EXPECT_EQ(scale_blocks(129), 2);
  EXPECT_EQ(scale_blocks(INT64_MAX), INT64_MAX / 128 + 1);
}

}  // namespace
}  // namespace fathom
