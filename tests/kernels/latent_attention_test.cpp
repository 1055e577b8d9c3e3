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

/// Rows of a cache, in pages of their own.
class PagedRows {
 public:
  PagedRows(const LatentLayout& layout, const std::vector<float>& values, std::int64_t page_positions)
      : rows_{layout, nullptr, kOffset, page_positions} {
    const std::int64_t count = static_cast<std::int64_t>(values.size()) / layout.width();
    for (std::int64_t i = 0; i < count; i += page_positions) {
      memory_.emplace_back(
          static_cast<std::size_t>(kOffset + page_positions * layout.row_bytes()) / sizeof(float) + 1);
      pages_.push_back(reinterpret_cast<std::byte*>(memory_.back().data()));
    }
    rows_.pages = pages_.data();
    ThreadPool pool(1);
    store_latent_rows(pool, rows_, 0, count, values.data());
  }
  [[nodiscard]] const LatentRows& rows() const { return rows_; }

 private:
  static constexpr std::int64_t kOffset = 16;
  std::vector<std::vector<float>> memory_;
  std::vector<std::byte*> pages_;
  LatentRows rows_;
};

struct Problem {
  LatentAttentionShape shape;
  std::int64_t tokens;
  std::int64_t length;
  std::vector<float> q = numbers(tokens * shape.heads * width(), 1);
  std::vector<float> cache = numbers(length * width(), 2);

  [[nodiscard]] std::int64_t width() const { return shape.latent_dim + shape.rope_dim; }
  [[nodiscard]] LatentLayout layout(LatentType type) const {
    return {type, shape.latent_dim, shape.rope_dim};
  }
  [[nodiscard]] std::vector<float> run(std::size_t threads, LatentType type = LatentType::f32,
                                       std::int64_t page_positions = 64) const {
    ThreadPool pool(threads);
    std::vector<float> out(static_cast<std::size_t>(tokens * shape.heads * shape.latent_dim), std::nanf(""));
    const PagedRows paged(layout(type), cache, page_positions);
    latent_attention(pool, shape, q.data(), tokens, paged.rows(), length, out.data());
    return out;
  }
  /// The same with the cache rounded to a type, in f32.
  [[nodiscard]] Problem rounded(LatentType type) const {
    Problem result = *this;
    ThreadPool pool(1);
    const PagedRows paged(layout(type), cache, 7);
    std::vector<float> part(cache.size());
    for (std::int64_t t = 0; t < length; ++t) {
      float* row = result.cache.data() + t * width();
      load_latent_rows(pool, paged.rows(), t, t + 1, LatentPart::latent, row);
      load_latent_rows(pool, paged.rows(), t, t + 1, LatentPart::key, row + shape.latent_dim);
    }
    return result;
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

TEST(LatentAttentionKernelTest, NarrowCachesCountAsWhatTheyHold) {
  for (const LatentType type : kLatentTypes)
    for (const LatentAttentionShape shape :
         {LatentAttentionShape{16, 160, 32, 0.1F}, LatentAttentionShape{3, 12, 6, 0.5F}}) {
      SCOPED_TRACE(latent_type_name(type));
      const Problem p{shape, 2, 600};
      EXPECT_LT(relative_error(p.run(2, type), p.rounded(type).reference()), 5e-6);
    }
}

TEST(LatentAttentionKernelTest, ResultDoesNotDependOnWherePagesLie) {
  for (const LatentType type : kLatentTypes) {
    const Problem p{{5, 32, 8, 0.4F}, 3, 700};
    const std::vector<float> expected = p.run(1, type);
    for (const std::int64_t page_positions : {1, 5, 16, 128, 4096})
      EXPECT_EQ(p.run(2, type, page_positions), expected)
          << latent_type_name(type) << ", pages of " << page_positions;
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

TEST(LatentAttentionKernelTest, RefusesRowsOfAnotherShape) {
  const Problem p{{2, 8, 8, 1.0F}, 1, 2};
  const PagedRows paged({LatentType::f32, 4, 12}, p.cache, 64);
  ThreadPool pool(1);
  std::vector<float> out(16);
  EXPECT_THROW(latent_attention(pool, p.shape, p.q.data(), 1, paged.rows(), 2, out.data()), Error);
}

}  // namespace
}  // namespace fathom::kernels
