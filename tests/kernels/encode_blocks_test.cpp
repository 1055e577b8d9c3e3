#include "kernels/encode_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "numerics/quant_blocks.h"
#include "support/binary_reader.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom::kernels {
namespace {

// The values of goldens/make_encode_blocks.py.

constexpr std::int64_t kEncodedRows = 8;
constexpr std::int64_t kEncodedColumns = 1024;
constexpr int kValueKinds = 3;  // bell-shaped, heavy-tailed, not centred
constexpr std::array kSearchedTypes = {DType::q4_0,   DType::q4_1, DType::q5_0,  DType::q5_1,
                                       DType::iq4_nl, DType::q2_k, DType::q3_k,  DType::q4_k,
                                       DType::q5_k,   DType::q6_k, DType::iq4_xs};

float bell_noise(std::uint32_t i) {
  float total = 0.0F;
  for (std::uint32_t k = 0; k < 4; ++k) {
    std::uint32_t h = (i * 4 + k) * 2654435761U;
    h = (h ^ (h >> 15U)) * 2246822519U;
    h ^= h >> 13U;
    total += static_cast<float>(h >> 16U) * 0x1p-16F - 0.5F;
  }
  return total;
}

std::vector<float> encoded_values(int kind) {
  constexpr auto kCount = static_cast<std::uint32_t>(kEncodedRows * kEncodedColumns);
  std::vector<float> values(kCount);
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const float v = bell_noise(static_cast<std::uint32_t>(kind) * kCount + i);
    values[i] = kind == 0 ? v * 0.0625F : kind == 1 ? v * v * v * 0.0625F : v * 0.0625F + 0.03125F;
  }
  return values;
}

std::vector<float> column_importance() {
  std::vector<float> importance(kEncodedColumns);
  for (std::uint32_t i = 0; i < importance.size(); ++i) {
    const float v = bell_noise((1U << 24U) + i);
    importance[i] = v * v * v * v + 0x1p-10F;
  }
  return importance;
}

std::vector<std::uint8_t> encode_rows(DType type, const std::vector<float>& values, std::int64_t columns,
                                      const float* importance) {
  const auto rows = static_cast<std::int64_t>(values.size()) / columns;
  const std::size_t row_bytes = stored_bytes(type, columns);
  std::vector<std::uint8_t> blocks(static_cast<std::size_t>(rows) * row_bytes);
  for (std::int64_t row = 0; row < rows; ++row)
    encode_blocks(type, values.data() + row * columns, columns, importance,
                  blocks.data() + static_cast<std::size_t>(row) * row_bytes);
  return blocks;
}

/// Σ importance × error² of all rows.
double encoding_error(DType type, const std::vector<float>& values, const float* importance) {
  const std::vector<std::uint8_t> blocks = encode_rows(type, values, kEncodedColumns, importance);
  std::vector<float> back(values.size());
  decode_blocks(type, blocks.data(), static_cast<std::int64_t>(values.size()), back.data());
  double error = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(back[i]) - static_cast<double>(values[i]);
    error += difference * difference * (importance != nullptr ? importance[i % kEncodedColumns] : 1.0);
  }
  return error;
}

TEST(EncodeBlocksTest, Q8RoundsToTheBytesOfTheGgufLibrary) {
  test::BinaryReader reader(test::golden("kernels/goldens/encode_blocks.bin"));
  const std::vector<float> values = encoded_values(0);
  const auto expected =
      reader.next_array<std::uint8_t>(stored_bytes(DType::q8_0, kEncodedRows * kEncodedColumns));
  EXPECT_EQ(encode_rows(DType::q8_0, values, kEncodedColumns, nullptr), expected);
  EXPECT_EQ(encode_rows(DType::q8_0, values, kEncodedColumns, column_importance().data()), expected);
}

TEST(EncodeBlocksTest, ErrorsAreBelowThoseOfLlamaCppWithAndWithoutImportance) {
  test::BinaryReader reader(test::golden("kernels/goldens/encode_blocks.bin"));
  reader.next_array<std::uint8_t>(stored_bytes(DType::q8_0, kEncodedRows * kEncodedColumns));
  const std::vector<float> importance = column_importance();
  for (const DType type : kSearchedTypes) {
    for (int kind = 0; kind < kValueKinds; ++kind) {
      const std::vector<float> values = encoded_values(kind);
      EXPECT_LT(encoding_error(type, values, nullptr), reader.next<double>())
          << dtype_name(type) << " of kind " << kind;
      EXPECT_LT(encoding_error(type, values, importance.data()), reader.next<double>())
          << dtype_name(type) << " with importance, of kind " << kind;
    }
  }
  EXPECT_TRUE(reader.at_end());
}

TEST(EncodeBlocksTest, ZerosStayZerosAndConstantsComeNear) {
  for (const DType type : kSearchedTypes) {
    for (const float constant : {0.0F, 0.75F, -0.75F, 0.03F}) {
      const std::vector<float> values(256, constant);
      const std::vector<std::uint8_t> blocks = encode_rows(type, values, 256, nullptr);
      std::vector<float> back(256);
      decode_blocks(type, blocks.data(), 256, back.data());
      // Two roundings to F16 and one to an integer scale are less than two thousandths off.
      for (const float value : back)
        ASSERT_NEAR(value, constant, std::abs(constant) * 2e-3F) << dtype_name(type);
    }
  }
}

TEST(EncodeBlocksTest, ABlockDoesNotDependOnItsNeighbours) {
  const std::vector<float> all = encoded_values(1);
  for (const DType type : kSearchedTypes) {
    const std::int64_t size = block_values(type);
    const std::vector<float> row(all.begin(), all.begin() + 5 * size);  // no whole number of eight blocks
    const std::vector<std::uint8_t> together = encode_rows(type, row, 5 * size, nullptr);
    EXPECT_EQ(encode_rows(type, row, size, nullptr), together) << dtype_name(type);
  }
}

TEST(EncodeBlocksTest, ImportanceOfZeroOrOfNoSenseLeavesValuesRecognisable) {
  std::vector<float> values = encoded_values(0);
  values.resize(256);
  std::vector<float> one_column(256, 0.0F);
  one_column[17] = 1.0F;
  const std::vector<float> nothing(256, 0.0F);
  const std::vector<float> no_numbers(256, std::nanf(""));
  double square = 0.0;
  for (const float value : values) square += static_cast<double>(value) * value;
  for (const DType type : kSearchedTypes) {
    for (const std::vector<float>& importance : {one_column, nothing, no_numbers}) {
      const std::vector<std::uint8_t> blocks = encode_rows(type, values, 256, importance.data());
      std::vector<float> back(256);
      decode_blocks(type, blocks.data(), 256, back.data());
      double error = 0.0;
      for (std::size_t i = 0; i < 256; ++i) error += std::pow(static_cast<double>(back[i]) - values[i], 2);
      EXPECT_LT(error, 0.25 * square) << dtype_name(type);
    }
    EXPECT_EQ(encode_rows(type, values, 256, nothing.data()), encode_rows(type, values, 256, nullptr));
  }
}

TEST(EncodeBlocksTest, WhatNoScaleHoldsIsRefused) {
  std::vector<float> values(256, 0.5F);
  std::vector<std::uint8_t> target(512);
  const auto message = [&](DType type) {
    return test::error_of([&] { encode_blocks(type, values.data(), 256, nullptr, target.data()); });
  };
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), -1e6F}) {
    values[33] = bad;
    EXPECT_THAT(message(DType::q4_k), testing::HasSubstr("value 33 is"));
    EXPECT_THAT(message(DType::q8_0), testing::HasSubstr("Q8_0 holds finite values up to 65504"));
  }
  values.resize(33);
  EXPECT_THAT(test::error_of([&] { encode_blocks(DType::q4_0, values.data(), 33, nullptr, target.data()); }),
              testing::HasSubstr("no whole number of blocks"));
  EXPECT_EQ(message(DType::f32), "F32 is no type of blocks");
  EXPECT_EQ(message(DType::iq2_xs), "IQ2_XS is read, not written: choose Q2_K, Q4_K, Q8_0 or the like");
}

}  // namespace
}  // namespace fathom::kernels
