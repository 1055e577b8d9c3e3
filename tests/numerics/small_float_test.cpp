// Bit-exact against PyTorch's casts (goldens/make_small_float.py).

#include "numerics/small_float.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/binary_reader.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

struct Goldens {
  std::vector<float> inputs;
  std::vector<std::uint16_t> bf16;
  std::vector<std::uint16_t> f16;
  std::vector<std::uint8_t> e4m3;
  std::vector<std::uint8_t> e5m2;
  // Every bfloat16 bit pattern cast; 0 where the pattern is NaN.
  std::vector<std::uint16_t> e4m3_of_bf16;
  std::vector<std::uint16_t> e5m2_of_bf16;
  std::vector<std::uint16_t> f16_of_bf16;
  std::vector<float> e4m3_values;
  std::vector<float> e5m2_values;
  std::vector<std::pair<std::uint16_t, float>> f16_values;
};

std::vector<std::uint16_t> expand_runs(test::BinaryReader& reader) {
  std::vector<std::uint16_t> codes;
  for (auto runs = reader.next<std::uint32_t>(); runs > 0; --runs) {
    const auto code = reader.next<std::uint16_t>();
    codes.insert(codes.end(), reader.next<std::uint16_t>(), code);
  }
  return codes;
}

const Goldens& goldens() {
  static const Goldens read = [] {
    test::BinaryReader reader(test::golden("numerics/goldens/small_float.bin"));
    Goldens g;
    const auto count = reader.next<std::uint32_t>();
    g.inputs = reader.next_array<float>(count);
    g.bf16 = reader.next_array<std::uint16_t>(count);
    g.f16 = reader.next_array<std::uint16_t>(count);
    g.e4m3 = reader.next_array<std::uint8_t>(count);
    g.e5m2 = reader.next_array<std::uint8_t>(count);
    g.e4m3_of_bf16 = expand_runs(reader);
    g.e5m2_of_bf16 = expand_runs(reader);
    g.f16_of_bf16 = expand_runs(reader);
    g.e4m3_values = reader.next_array<float>(256);
    g.e5m2_values = reader.next_array<float>(256);
    for (auto left = reader.next<std::uint32_t>(); left > 0; --left) {
      const auto code = reader.next<std::uint16_t>();
      g.f16_values.emplace_back(code, reader.next<float>());
    }
    EXPECT_TRUE(reader.at_end());
    return g;
  }();
  return read;
}

template <typename Small, typename Bits>
void expect_casts(const std::vector<float>& inputs, const std::vector<Bits>& codes) {
  ASSERT_EQ(inputs.size(), codes.size());
  ASSERT_GT(inputs.size(), 1000U);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    ASSERT_EQ(Small::from_float(inputs[i]).bits, codes[i])
        << inputs[i] << ", bits " << std::hex << std::bit_cast<std::uint32_t>(inputs[i]);
}

template <typename Small>
void expect_casts_of_bf16(const std::vector<std::uint16_t>& codes) {
  ASSERT_EQ(codes.size(), 65536U);
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = Bf16{static_cast<std::uint16_t>(bits)}.to_float();
    const Small small = Small::from_float(value);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(small.to_float())) << std::hex << bits;
      ASSERT_EQ(std::signbit(small.to_float()), std::signbit(value)) << std::hex << bits;
    } else {
      ASSERT_EQ(small.bits, codes[bits]) << value << ", bits " << std::hex << bits;
    }
  }
}

/// Both are the same number, sign of zero included, or both are NaN.
testing::AssertionResult same(float a, float b) {
  if (std::isnan(a) && std::isnan(b)) return testing::AssertionSuccess();
  if (std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << a << " is not " << b;
}

TEST(SmallFloatTest, CastsRoundAsPyTorchDoesAtTiesLimitsAndSubnormals) {
  expect_casts<Bf16>(goldens().inputs, goldens().bf16);
  expect_casts<F16>(goldens().inputs, goldens().f16);
  expect_casts<F8E4M3>(goldens().inputs, goldens().e4m3);
  expect_casts<F8E5M2>(goldens().inputs, goldens().e5m2);
}

TEST(SmallFloatTest, EveryBf16ValueCastsAsInPyTorch) {
  expect_casts_of_bf16<F8E4M3>(goldens().e4m3_of_bf16);
  expect_casts_of_bf16<F8E5M2>(goldens().e5m2_of_bf16);
  expect_casts_of_bf16<F16>(goldens().f16_of_bf16);
}

TEST(SmallFloatTest, CodesHaveTheValuesOfPyTorch) {
  for (std::size_t code = 0; code < 256; ++code) {
    const auto bits = static_cast<std::uint8_t>(code);
    EXPECT_TRUE(same(F8E4M3{bits}.to_float(), goldens().e4m3_values[code])) << code;
    EXPECT_TRUE(same(F8E5M2{bits}.to_float(), goldens().e5m2_values[code])) << code;
  }
  EXPECT_GT(goldens().f16_values.size(), 1000U);
  for (const auto& [code, value] : goldens().f16_values)
    EXPECT_TRUE(same(F16{code}.to_float(), value)) << code;
}

TEST(SmallFloatTest, EveryCodeSurvivesTheWayToF32AndBack) {
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const auto bits = static_cast<std::uint16_t>(code);
    if (!std::isnan(Bf16{bits}.to_float())) {
      ASSERT_EQ(Bf16::from_float(Bf16{bits}.to_float()).bits, bits);
    }
    if (!std::isnan(F16{bits}.to_float())) {
      ASSERT_EQ(F16::from_float(F16{bits}.to_float()).bits, bits);
    }
  }
  for (std::uint32_t code = 0; code < 256; ++code) {
    const auto bits = static_cast<std::uint8_t>(code);
    if (!std::isnan(F8E4M3{bits}.to_float())) {
      ASSERT_EQ(F8E4M3::from_float(F8E4M3{bits}.to_float()).bits, bits);
    }
    if (!std::isnan(F8E5M2{bits}.to_float())) {
      ASSERT_EQ(F8E5M2::from_float(F8E5M2{bits}.to_float()).bits, bits);
    }
  }
}

TEST(SmallFloatTest, SaturationKeepsTheLargestFiniteValue) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float large : {464.1F, 500.0F, 1e30F, kInfinity}) {
    EXPECT_EQ(F8E4M3::from_float(large, Overflow::saturate).to_float(), 448.0F);
    EXPECT_EQ(F8E4M3::from_float(-large, Overflow::saturate).to_float(), -448.0F);
    EXPECT_TRUE(std::isnan(F8E4M3::from_float(large, Overflow::special).to_float()));
  }
  EXPECT_EQ(F8E5M2::from_float(kInfinity, Overflow::saturate).to_float(), 57344.0F);
  EXPECT_EQ(F8E5M2::from_float(61440.0F).to_float(), kInfinity);  // a tie, whose even neighbour is infinity
  EXPECT_TRUE(std::isnan(F8E4M3::from_float(std::nanf(""), Overflow::saturate).to_float()));
}

TEST(SmallFloatTest, NaNStaysNaNWhateverItsPayload) {
  for (const std::uint32_t word : {0x7F800001U, 0x7FC00000U, 0x7FFFFFFFU, 0xFF800001U, 0xFFFFFFFFU}) {
    const auto value = std::bit_cast<float>(word);
    EXPECT_TRUE(std::isnan(Bf16::from_float(value).to_float())) << std::hex << word;
    EXPECT_TRUE(std::isnan(F16::from_float(value).to_float())) << std::hex << word;
    EXPECT_TRUE(std::isnan(F8E4M3::from_float(value).to_float())) << std::hex << word;
    EXPECT_TRUE(std::isnan(F8E5M2::from_float(value).to_float())) << std::hex << word;
  }
}

}  // namespace
}  // namespace fathom
