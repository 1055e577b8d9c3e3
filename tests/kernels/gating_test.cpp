#include "kernels/gating.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace fathom::kernels {
namespace {

using testing::ElementsAre;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<std::int32_t> select(const ExpertSelection& rule, const std::vector<float>& scores) {
  check_expert_selection(rule);
  const auto tokens = static_cast<std::int64_t>(scores.size()) / rule.experts;
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(tokens * rule.top_k), -1);
  select_experts(rule, scores.data(), tokens, chosen.data());
  return chosen;
}

TEST(GatingTest, ChoosesTheHighestBestFirst) {
  EXPECT_THAT(select({.experts = 5, .top_k = 3}, {0.1F, 0.9F, -2.0F, 0.5F, 0.7F}), ElementsAre(1, 4, 3));
}

TEST(GatingTest, TheLowerIndexWinsATie) {
  EXPECT_THAT(select({.experts = 4, .top_k = 2}, {1.0F, 2.0F, 2.0F, 2.0F}), ElementsAre(1, 2));
  EXPECT_THAT(select({.experts = 3, .top_k = 2}, {-0.0F, 0.0F, -0.0F}), ElementsAre(0, 1));
}

TEST(GatingTest, NaNRanksAboveAllAndIndicesStayDistinct) {
  EXPECT_THAT(select({.experts = 4, .top_k = 2}, {kInf, 1.0F, -kNaN, -kInf}), ElementsAre(2, 0));
  EXPECT_THAT(select({.experts = 4, .top_k = 4}, {kNaN, kNaN, kNaN, kNaN}), ElementsAre(0, 1, 2, 3));
  const ExpertSelection grouped{.experts = 4, .top_k = 2, .groups = 2, .top_groups = 1};
  EXPECT_THAT(select(grouped, {9.0F, 9.0F, kNaN, -kInf}), ElementsAre(2, 3));
}

TEST(GatingTest, GroupsStayByTheirTwoHighestOrByTheirMaximum) {
  const std::vector<float> scores = {1.0F, -5.0F, 0.6F, 0.6F};
  ExpertSelection rule{.experts = 4, .top_k = 2, .groups = 2, .top_groups = 1};
  EXPECT_THAT(select(rule, scores), ElementsAre(2, 3));
  rule.group_score = GroupScore::maximum;
  EXPECT_THAT(select(rule, scores), ElementsAre(0, 1));
}

TEST(GatingTest, NegativeScoresOfAStayingGroupBeatGroupsThatAreOut) {
  const ExpertSelection rule{.experts = 4, .top_k = 2, .groups = 2, .top_groups = 1};
  EXPECT_THAT(select(rule, {-9.0F, -1.0F, -5.1F, -5.0F}), ElementsAre(1, 0));
}

TEST(GatingTest, AgreesWithSortingOnRandomScores) {
  Rng rng(5);
  for (int round = 0; round < 200; ++round) {
    ExpertSelection rule;
    rule.groups = 1 + static_cast<std::int64_t>(rng.below(4));
    const std::int64_t size = 1 + static_cast<std::int64_t>(rng.below(5));
    rule.experts = rule.groups * size;
    rule.top_groups = 1 + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(rule.groups)));
    rule.top_k = 1 + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(rule.top_groups * size)));
    std::vector<float> scores(static_cast<std::size_t>(rule.experts));
    for (float& score : scores) score = static_cast<float>(rng.below(6)) - 3.0F;  // many ties

    const auto order_by = [](const std::vector<float>& values) {
      std::vector<std::int32_t> order(values.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
      });
      return order;
    };
    std::vector<float> group_scores;
    for (std::int64_t g = 0; g < rule.groups; ++g) {
      std::vector<float> group(scores.begin() + g * size, scores.begin() + (g + 1) * size);
      std::sort(group.rbegin(), group.rend());
      group_scores.push_back(size == 1 ? group[0] : group[0] + group[1]);
    }
    std::vector<std::int32_t> groups = order_by(group_scores);
    groups.resize(static_cast<std::size_t>(rule.top_groups));
    const std::set<std::int32_t> kept(groups.begin(), groups.end());
    std::vector<std::int32_t> expected;
    for (const std::int32_t expert : order_by(scores))
      if (kept.contains(static_cast<std::int32_t>(expert / size))) expected.push_back(expert);
    expected.resize(static_cast<std::size_t>(rule.top_k));
    EXPECT_EQ(select(rule, scores), expected) << "round " << round;
  }
}

TEST(GatingTest, RefusesRulesThatCannotBeMet) {
  EXPECT_THROW(check_expert_selection({.experts = 0, .top_k = 1}), Error);
  EXPECT_THROW(check_expert_selection({.experts = 8, .top_k = 0}), Error);
  EXPECT_THROW(check_expert_selection({.experts = 8, .top_k = 9}), Error);
  EXPECT_THROW(check_expert_selection({.experts = 8, .top_k = 2, .groups = 3}), Error);
  EXPECT_THROW(check_expert_selection({.experts = 8, .top_k = 3, .groups = 4, .top_groups = 1}), Error);
  EXPECT_THROW(check_expert_selection({.experts = 8, .top_k = 1, .groups = 4, .top_groups = 5}), Error);
}

TEST(GatingTest, SoftmaxAndSigmoidAreRightAtTheEnds) {
  std::vector<float> x = {1000.0F, 0.0F, -1000.0F};
  sigmoid(x.data(), 3);
  EXPECT_THAT(x, ElementsAre(1.0F, 0.5F, 0.0F));
  std::vector<float> rows = {1000.0F, 1000.0F, -1000.0F, 0.0F};
  softmax(rows.data(), 2, 2);
  EXPECT_THAT(rows, ElementsAre(0.5F, 0.5F, 0.0F, 1.0F));
}

}  // namespace
}  // namespace fathom::kernels
