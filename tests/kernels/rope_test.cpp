#include "kernels/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace fathom::kernels {
namespace {

/// Angles 0.1 · (position + 1) · (pair + 1).
struct Tables {
  std::vector<float> cosines;
  std::vector<float> sines;

  Tables(int positions, int half) {
    for (int p = 0; p < positions; ++p) {
      for (int i = 0; i < half; ++i) {
        cosines.push_back(static_cast<float>(std::cos(0.1 * (p + 1) * (i + 1))));
        sines.push_back(static_cast<float>(std::sin(0.1 * (p + 1) * (i + 1))));
      }
    }
  }
  [[nodiscard]] RopeAngles angles(std::int64_t dim, RopePairs pairs) const {
    return {cosines.data(), sines.data(), dim, pairs};
  }
};

TEST(RopeKernelTest, TurnsEachPairByItsAngle) {
  ThreadPool pool(1);
  const std::vector<std::int64_t> positions{2};
  for (const std::int64_t half : {1, 2, 3, 8, 16, 17, 32}) {
    const Tables tables(3, static_cast<int>(half));
    for (const RopePairs pairs : {RopePairs::neighbours, RopePairs::halves}) {
      std::vector<float> x(static_cast<std::size_t>(2 * half));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) - 3.0F;
      const std::vector<float> before = x;
      rope_rotate(pool, x.data(), 2 * half, 0, 1, 1, tables.angles(2 * half, pairs), positions.data(),
                  RopeDirection::forward);
      for (std::int64_t i = 0; i < half; ++i) {
        const auto a = static_cast<std::size_t>(pairs == RopePairs::neighbours ? 2 * i : i);
        const auto b = static_cast<std::size_t>(pairs == RopePairs::neighbours ? 2 * i + 1 : i + half);
        const double angle = 0.3 * static_cast<double>(i + 1);
        // Products of values up to 70 with cosines rounded to f32.
        EXPECT_NEAR(x[a], before[a] * std::cos(angle) - before[b] * std::sin(angle), 3e-5);
        EXPECT_NEAR(x[b], before[b] * std::cos(angle) + before[a] * std::sin(angle), 3e-5);
      }
    }
  }
}

TEST(RopeKernelTest, InverseUndoesAndLeavesTheRestAlone) {
  ThreadPool pool(2);
  constexpr std::int64_t kTokens = 5;
  constexpr std::int64_t kHeads = 3;
  constexpr std::int64_t kWidth = 11;  // 3 values not rotated, then 8 that are
  const std::vector<std::int64_t> positions{0, 1, 2, 0, 1};
  const Tables tables(3, 4);
  for (const RopePairs pairs : {RopePairs::neighbours, RopePairs::halves}) {
    std::vector<float> x(kTokens * kHeads * kWidth);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6.0F;
    const std::vector<float> before = x;
    const auto turn = [&](RopeDirection direction) {
      rope_rotate(pool, x.data() + 3, kHeads * kWidth, kWidth, kTokens, kHeads, tables.angles(8, pairs),
                  positions.data(), direction);
    };
    turn(RopeDirection::forward);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i % kWidth < 3) {
        EXPECT_EQ(x[i], before[i]);
      }
    }
    EXPECT_NE(x, before);
    turn(RopeDirection::inverse);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], before[i], 2e-6);
  }
}

}  // namespace
}  // namespace fathom::kernels
