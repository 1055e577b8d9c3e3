#include "model/expert_usage.h"

#include <gtest/gtest.h>

#include <vector>

namespace fathom {
namespace {

const std::vector<std::int64_t> kTwoGroups = {4, 2};

void count_one(ExpertUsage& usage, std::size_t group, std::int64_t expert) {
  const std::vector<std::int64_t> experts = {expert};
  const std::vector<std::int64_t> rows = {1};
  usage.count(group, 1, experts, rows);
}

TEST(ExpertUsageTest, ComesToTheShareOfTokens) {
  ExpertUsage usage(kTwoGroups, 50);
  for (int i = 0; i < 20'000; ++i) count_one(usage, 0, i % 4 == 0 ? 3 : 1);
  EXPECT_NEAR(usage.rate(0, 3), 0.25, 0.02);
  EXPECT_NEAR(usage.rate(0, 1), 0.75, 0.02);
  EXPECT_EQ(usage.rate(0, 0), 0.0);
  EXPECT_EQ(usage.rate(1, 0), 0.0);
}

TEST(ExpertUsageTest, HalvesAfterSoManyTokens) {
  ExpertUsage usage(kTwoGroups, 10);
  for (int i = 0; i < 200; ++i) count_one(usage, 0, 2);
  const double before = usage.rate(0, 2);
  for (int i = 0; i < 10; ++i) count_one(usage, 0, 0);
  EXPECT_NEAR(usage.rate(0, 2), before / 2, 1e-9);
}

TEST(ExpertUsageTest, APassOfManyTokensCountsAsIfTheyCameOneByOne) {
  ExpertUsage at_once(kTwoGroups, 30);
  ExpertUsage one_by_one(kTwoGroups, 30);
  const std::vector<std::int64_t> both = {0, 1};
  const std::vector<std::int64_t> rows = {64, 64};
  at_once.count(1, 128, both, rows);
  for (int i = 0; i < 128; ++i) count_one(one_by_one, 1, i % 2);
  for (const std::int64_t expert : both)
    EXPECT_NEAR(at_once.rate(1, expert), one_by_one.rate(1, expert), 0.01);
}

TEST(ExpertUsageTest, LongRunsStayFinite) {
  ExpertUsage usage(kTwoGroups, 1);
  const std::vector<std::int64_t> experts = {0};
  const std::vector<std::int64_t> rows = {5000};
  for (int i = 0; i < 1000; ++i) usage.count(0, 5000, experts, rows);
  EXPECT_NEAR(usage.rate(0, 0), 1.0, 1e-6);
}

}  // namespace
}  // namespace fathom
