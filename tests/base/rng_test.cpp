#include "base/rng.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace fathom {
namespace {

using Block = std::array<std::uint32_t, 4>;

/// The known-answer vectors of Random123 (kat_vectors, philox4x32 with 10 rounds). Counter words 0 and 1 are
/// our index, 2 and 3 our stream; the key is our seed; low words first.
TEST(RngTest, PhiloxGivesTheKnownAnswers) {
  EXPECT_EQ(philox_block(0, 0, 0), (Block{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  EXPECT_EQ(philox_block(UINT64_MAX, UINT64_MAX, UINT64_MAX),
            (Block{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT_EQ(philox_block(0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3243F6A88),
            (Block{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

TEST(RngTest, NumbersAreTheBlocksInOrder) {
  Rng rng(5, 7);
  for (std::uint64_t block = 0; block < 3; ++block)
    for (const std::uint32_t expected : philox_block(5, 7, block)) EXPECT_EQ(rng.next_u32(), expected);
  EXPECT_EQ(rng.state(), (Rng::State{5, 7, 12}));
}

TEST(RngTest, ContinuesFromASavedStateInTheMiddleOfABlock) {
  Rng rng(11, 3);
  for (int drawn = 0; drawn < 9; ++drawn) {
    Rng resumed(rng.state());
    Rng original = rng;
    for (int i = 0; i < 10; ++i) ASSERT_EQ(resumed.normal(), original.normal());
    rng.next_u32();
  }
}

TEST(RngTest, StreamsAndSeedsDiffer) {
  EXPECT_NE(Rng(1, 0).next_u64(), Rng(1, 1).next_u64());
  EXPECT_NE(Rng(1, 0).next_u64(), Rng(2, 0).next_u64());
}

TEST(RngTest, UniformLiesInTheHalfOpenUnitInterval) {
  Rng rng(1);
  double sum = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
  }
  // Standard error of the mean: 1/sqrt(12 · 1e5) = 9.1e-4; five of them.
  EXPECT_NEAR(sum / kDraws, 0.5, 0.0046);
}

TEST(RngTest, BelowIsUniformForBoundsThatAreNoPowerOfTwo) {
  Rng rng(2);
  std::vector<int> counts(6, 0);
  constexpr int kDraws = 60'000;
  for (int i = 0; i < kDraws; ++i) ++counts.at(rng.below(6));
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 460);  // five standard deviations of 91
  EXPECT_EQ(rng.below(1), 0U);
  constexpr std::uint64_t kLarge = (std::uint64_t{1} << 63U) + 1;  // rejects nearly half of the draws
  for (int i = 0; i < 100; ++i) EXPECT_LT(rng.below(kLarge), kLarge);
}

TEST(RngTest, NormalHasItsMoments) {
  Rng rng(3);
  constexpr int kDraws = 100'000;
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    fourth += value * value * value * value;
  }
  // Five standard errors: sqrt(1, 2, 96 / 1e5).
  EXPECT_NEAR(sum / kDraws, 0.0, 0.016);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.023);
  EXPECT_NEAR(fourth / kDraws, 3.0, 0.155);
}

}  // namespace
}  // namespace fathom
