#include "dist/stage_split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace fathom {
namespace {

double costliest(const std::vector<double>& costs, const std::vector<std::size_t>& first) {
  double most = 0;
  for (std::size_t s = 0; s + 1 < first.size(); ++s)
    most = std::max(most, std::accumulate(costs.begin() + static_cast<std::ptrdiff_t>(first[s]),
                                          costs.begin() + static_cast<std::ptrdiff_t>(first[s + 1]), 0.0));
  return most;
}

/// By trying every split.
double cheapest(const std::vector<double>& costs, std::size_t from, std::size_t stages) {
  if (stages == 1)
    return std::accumulate(costs.begin() + static_cast<std::ptrdiff_t>(from), costs.end(), 0.0);
  double best = 1e300;
  double first = 0;
  for (std::size_t next = from + 1; next + stages - 1 <= costs.size(); ++next) {
    first += costs[next - 1];
    best = std::min(best, std::max(first, cheapest(costs, next, stages - 1)));
  }
  return best;
}

TEST(StageSplitTest, TheCostliestStageIsTheCheapestThereCanBe) {
  std::uint32_t state = 7;
  const auto random = [&] { return static_cast<double>((state = state * 1664525U + 1013904223U) >> 24U); };
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<double> costs;
    for (int i = 0; i < 9; ++i) costs.push_back(random());
    const auto splits = split_stages(costs);
    ASSERT_EQ(splits.size(), 10U);
    for (std::size_t stages = 1; stages <= 9; ++stages) {
      const std::vector<std::size_t>& first = splits[stages];
      ASSERT_EQ(first.size(), stages + 1);
      EXPECT_EQ(first.front(), 0U);
      EXPECT_EQ(first.back(), 9U);
      for (std::size_t s = 0; s < stages; ++s) EXPECT_LT(first[s], first[s + 1]);
      EXPECT_DOUBLE_EQ(costliest(costs, first), cheapest(costs, 0, stages));
    }
  }
}

TEST(StageSplitTest, AsManyStagesAsPiecesHaveOneEach) {
  EXPECT_EQ(split_stages(std::vector<double>{0, 5, 1})[3], (std::vector<std::size_t>{0, 1, 2, 3}));
}

}  // namespace
}  // namespace fathom
