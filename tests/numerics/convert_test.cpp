#include "numerics/convert.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "base/error.h"
#include "numerics/small_float.h"

namespace fathom {
namespace {

TEST(ConvertTest, NarrowingRoundsAndWideningIsExact) {
  const std::array<float, 4> values = {1.0F, -0.1F, 3.14159F, 1e-7F};
  std::array<F16, 4> half{};
  std::array<float, 4> back{};
  EXPECT_TRUE(narrow_from_f32(values.data(), 4, DType::f16, half.data()));
  widen_to_f32(half.data(), DType::f16, 4, back.data());
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(back[i], F16::from_float(values[i]).to_float());
  std::array<Bf16, 4> brain{};
  EXPECT_TRUE(narrow_from_f32(values.data(), 4, DType::bf16, brain.data()));
  widen_to_f32(brain.data(), DType::bf16, 4, back.data());
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(back[i], Bf16::from_float(values[i]).to_float());
  EXPECT_TRUE(narrow_from_f32(values.data(), 4, DType::f32, back.data()));
  EXPECT_EQ(back, values);
}

TEST(ConvertTest, FiniteValuesThatBecomeInfiniteAreReported) {
  const float large = 70000.0F;
  const float infinite = std::numeric_limits<float>::infinity();
  F16 half;
  EXPECT_FALSE(narrow_from_f32(&large, 1, DType::f16, &half));
  EXPECT_TRUE(narrow_from_f32(&infinite, 1, DType::f16, &half));
  Bf16 brain;
  EXPECT_TRUE(narrow_from_f32(&large, 1, DType::bf16, &brain));
}

TEST(ConvertTest, OtherTypesAreRefused) {
  float value = 0;
  EXPECT_THROW(widen_to_f32(&value, DType::i32, 1, &value), Error);
  EXPECT_THROW(narrow_from_f32(&value, 1, DType::f8_e4m3, &value), Error);
  EXPECT_TRUE(is_plain_float(DType::bf16));
  EXPECT_FALSE(is_plain_float(DType::f8_e4m3));
}

}  // namespace
}  // namespace fathom
