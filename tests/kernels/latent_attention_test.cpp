#include "kernels/latent_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"

namespace fathom::kernels {
namespace {

std::vector<float> numbers(std::int64_t count, std::uint32_t stream) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::uint32_t i = 0; float& value : values) {
    std::uint32_t x = (i++ + stream * 7919U) * 2654435761U;
    x = (x ^ x >> 15U) * 0x2C1B3C6DU;
    value = static_cast<float>((x ^ x >> 13U) >> 8U) / 8388608.0F - 1.0F;
  }
  return values;
}

struct Problem {
  LatentAttentionShape shape;
  std::int64_t tokens;
  std::int64_t length;
  std::vector<float> q = numbers(tokens * shape.heads * width(), 1);
  std::vector<float> cache = numbers(length * width(), 2);

  [[nodiscard]] std::int64_t width() const { return shape.latent_dim + shape.rope_dim; }
  [[nodiscard]] std::vector<float> run(std::size_t threads) const {
    ThreadPool pool(threads);
    std::vector<float> out(static_cast<std::size_t>(tokens * shape.heads * shape.latent_dim), std::nanf(""));
    latent_attention(pool, shape, q.data(), tokens, cache.data(), length, out.data());
    return out;
  }
  /// The definition, in double.
  [[nodiscard]] std::vector<double> reference() const {
    std::vector<double> out(static_cast<std::size_t>(tokens * shape.heads * shape.latent_dim));
    for (std::int64_t row = 0; row < tokens * shape.heads; ++row) {
      const std::int64_t seen = length - tokens + row / shape.heads + 1;
      std::vector<double> weight(static_cast<std::size_t>(seen));
      for (std::int64_t k = 0; k < seen; ++k)
        for (std::int64_t i = 0; i < width(); ++i)
          weight[k] += static_cast<double>(q[row * width() + i]) * cache[k * width() + i] * shape.scale;
      const double top = *std::max_element(weight.begin(), weight.end());
      double sum = 0.0;
      for (double& w : weight) sum += w = std::exp(w - top);
      for (std::int64_t k = 0; k < seen; ++k)
        for (std::int64_t i = 0; i < shape.latent_dim; ++i)
          out[row * shape.latent_dim + i] += weight[k] / sum * cache[k * width() + i];
    }
    return out;
  }
};

double relative_error(const std::vector<float>& actual, const std::vector<double>& expected) {
  double difference = 0.0;
  double magnitude = 1e-30;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i])) return HUGE_VAL;
    difference = std::max(difference, std::abs(static_cast<double>(actual[i]) - expected[i]));
    magnitude = std::max(magnitude, std::abs(expected[i]));
  }
  return difference / magnitude;
}

class LatentAttentionTest
    : public testing::TestWithParam<std::tuple<LatentAttentionShape, std::pair<int, int>>> {};

TEST_P(LatentAttentionTest, MatchesTheDefinitionInDouble) {
  const auto& [shape, size] = GetParam();
  const Problem p{shape, size.first, size.second};
  EXPECT_LT(relative_error(p.run(2), p.reference()), 5e-6);  // f32 sums of up to 1,100 terms
}

// One token and several, across blocks and runs of the cache; heads and latents that fill no vector; more
// heads than a group has rows.
INSTANTIATE_TEST_SUITE_P(Sizes, LatentAttentionTest,
                         testing::Combine(testing::Values(LatentAttentionShape{16, 32, 8, 0.3F},
                                                          LatentAttentionShape{3, 12, 6, 0.5F},
                                                          LatentAttentionShape{70, 16, 16, 0.2F}),
                                          testing::Values(std::pair(1, 1), std::pair(1, 63), std::pair(1, 64),
                                                          std::pair(1, 65), std::pair(2, 2), std::pair(5, 70),
                                                          std::pair(8, 520), std::pair(1, 1100),
                                                          std::pair(64, 130))));

TEST(LatentAttentionKernelTest, ResultDoesNotDependOnTheThreadCount) {
  for (const std::int64_t tokens : {1, 6, 90}) {
    const Problem p{{5, 24, 8, 0.4F}, tokens, 1500};
    const std::vector<float> one = p.run(1);
    EXPECT_EQ(one, p.run(2));
    EXPECT_EQ(one, p.run(3));
  }
}

TEST(LatentAttentionKernelTest, LargeScoresNeitherOverflowNorVanish) {
  const Problem p{{4, 16, 16, 100.0F}, 3, 700};
  // Scores of some ±500 are rounded to 3e-5, which is then the relative error of their exponentials.
  EXPECT_LT(relative_error(p.run(1), p.reference()), 3e-4);
}

TEST(LatentAttentionKernelTest, RefusesATokenThatIsNotInTheCache) {
  const Problem p{{2, 8, 8, 1.0F}, 3, 2};
  EXPECT_THROW(p.run(1), Error);
}

}  // namespace
}  // namespace fathom::kernels
