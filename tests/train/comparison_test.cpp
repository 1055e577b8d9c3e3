#include "train/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::HasSubstr;

class ComparisonTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;

  /// A run of 40 steps whose loss is `loss` throughout.
  RunRecord run(const std::string& name, double loss, bool has_sources = false) const {
    const std::filesystem::path path = folder_.path() / name;
    std::filesystem::create_directories(path);
    MetricsLog log(path / "metrics.jsonl", 0);
    for (std::int64_t i = 1; i <= 40; ++i) {
      StepMetrics step;
      step.step = i;
      step.loss = loss;
      step.max_vio = 0.5;
      step.tokens = 100 * i;
      step.tokens_per_second = i == 40 ? 1.0 : 1000.0;  // one slow step
      log.append(step);
    }
    EvalMetrics evaluation;
    evaluation.step = 40;
    evaluation.loss = 2 * loss;
    if (has_sources) evaluation.source_loss = {{"web", loss}, {"books of " + name, 3.0}};
    evaluation.bits_per_byte = 1.25;
    evaluation.max_vio = 0.25;
    evaluation.draft_acceptance = {0.75};
    log.append(evaluation);
    return read_run(path, name);
  }
};

TEST_F(ComparisonTest, DifferencesAreRelativeToTheFirstRun) {
  const RunRecord runs[] = {run("bf16", 2.0), run("fp8", 2.005)};
  const OrderedJson json = comparison_json(runs);
  EXPECT_EQ(json.at(0).at("name"), "bf16");
  EXPECT_TRUE(json.at(0).at("loss_difference_percent").is_null());
  EXPECT_NEAR(json.at(1).at("loss_difference_percent").get<double>(), 0.25, 1e-9);
  EXPECT_NEAR(json.at(1).at("held_out_loss_difference_percent").get<double>(), 0.25, 1e-9);
  EXPECT_EQ(json.at(1).at("tokens"), 4000);
  EXPECT_EQ(json.at(1).at("batch_max_vio"), 0.5);
  EXPECT_EQ(json.at(1).at("held_out_max_vio"), 0.25);
}

TEST_F(ComparisonTest, SpeedIsTheMedianStepS) {
  EXPECT_EQ(run("a", 1.0).tokens_per_second, 1000.0);
}

// As the first versions wrote them.
TEST_F(ComparisonTest, FiguresThatALogLacksAreLeftOut) {
  std::filesystem::create_directories(folder_.path() / "old");
  std::ofstream(folder_.path() / "old" / "metrics.jsonl")
      << "{\"step\":1,\"loss\":2.0}\n{\"step\":1,\"held_out_loss\":3.0}\n{\"step\":2,\"lo";
  const RunRecord runs[] = {run("new", 2.0), read_run(folder_.path() / "old", "old")};
  EXPECT_THAT(comparison_table(runs), testing::ContainsRegex("\nold +1 +0 +2\\.0000 .* - +- +- +- +-\n"));
  const OrderedJson old = comparison_json(runs).at(1);
  EXPECT_EQ(old.at("held_out_loss"), 3.0);
  for (const char* absent : {"bits_per_byte", "held_out_max_vio", "draft_acceptance", "tokens_per_second"})
    EXPECT_TRUE(old.at(absent).is_null()) << absent;
}

TEST_F(ComparisonTest, TableHasARowForEachRun) {
  const RunRecord runs[] = {run("bf16", 2.0), run("fp8", 2.005)};
  const std::string table = comparison_table(runs);
  EXPECT_THAT(table, HasSubstr("bf16"));
  EXPECT_THAT(table, HasSubstr("+0.250"));
  EXPECT_THAT(table, HasSubstr("75.0 %"));
}

TEST_F(ComparisonTest, SourcesAreComparedOneByOne) {
  const RunRecord runs[] = {run("a", 2.0, true), run("b", 2.1, true)};
  const OrderedJson sources = comparison_json(runs).at(1).at("held_out_source_loss");
  EXPECT_EQ(sources.at(0).at("source"), "web");
  EXPECT_EQ(sources.at(0).at("loss"), 2.1);
  EXPECT_NEAR(sources.at(0).at("loss_difference_percent").get<double>(), 5, 1e-9);
  EXPECT_TRUE(sources.at(1).at("loss_difference_percent").is_null()) << "the first run has no such source";
  const std::string table = comparison_table(runs);
  EXPECT_THAT(table, testing::ContainsRegex("web +2\\.0000 +2\\.1000 +\\+5\\.000\n"));
  EXPECT_THAT(table, testing::ContainsRegex("books of a +3\\.0000 +- +-\n"));
  const RunRecord plain[] = {run("c", 2.0)};
  EXPECT_THAT(comparison_table(plain), testing::Not(HasSubstr("held-out loss")));
}

TEST_F(ComparisonTest, ChartsAreThoseThatTheRunsHave) {
  const RunRecord one[] = {run("a", 2.0)};
  EXPECT_EQ(comparison_charts(one).size(), 2U);  // loss, MaxVio; a single evaluation makes no curve
  const RunRecord two[] = {run("a", 2.0), run("b", 2.1)};
  const std::vector<LineChart> charts = comparison_charts(two);
  ASSERT_EQ(charts.size(), 3U);
  EXPECT_NEAR(charts[1].lines[1].points[20].y, 5.0, 1e-9);
  EXPECT_NEAR(charts[1].lines[0].points[20].y, 0.0, 1e-9);
}

TEST_F(ComparisonTest, FolderWithoutARunIsRefused) {
  try {
    read_run(folder_.path(), "x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("metrics.jsonl"));
  }
}

TEST(SmoothedTest, IsTheMeanOfThePointsAroundAndKeepsTheEnds) {
  const ChartPoint points[] = {{1, 0}, {2, 3}, {3, 6}, {4, 0}};
  const std::vector<ChartPoint> smooth = smoothed(points, 1);
  EXPECT_EQ(smooth[0].y, 0);
  EXPECT_EQ(smooth[1].y, 3);
  EXPECT_EQ(smooth[2].y, 3);
  EXPECT_EQ(smooth[3].y, 0);
  EXPECT_EQ(smooth[3].x, 4);
}

TEST(RelativeDifferenceTest, IsTakenWhereBothHaveAPoint) {
  const ChartPoint a[] = {{1, 2}, {3, 4}, {5, 6}};
  const ChartPoint b[] = {{1, 1}, {2, 9}, {5, 5}};
  const std::vector<ChartPoint> difference = relative_difference(a, b);
  ASSERT_EQ(difference.size(), 2U);
  EXPECT_NEAR(difference[0].y, 100, 1e-9);
  EXPECT_NEAR(difference[1].y, 20, 1e-9);
}

}  // namespace
}  // namespace fathom
