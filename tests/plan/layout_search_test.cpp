#include "plan/layout_search.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "support/planned_training.h"

namespace fathom {
namespace {

TrainingTask small_task() {
  TrainingTask task = test::planned_task("moonlight-16b-a3b");
  task.batch = 96;
  return task;
}

TEST(LayoutSearchTest, TheBestAreThoseThatTryingAllFinds) {
  const TrainingEstimator estimator(small_task(), load_hardware("h800"));
  std::vector<double> seconds;
  std::int64_t layouts = 0;
  for (const TrainingLayout& layout : possible_layouts(estimator.task(), 24, {})) {
    try {
      const TrainingEstimate estimate = estimator.estimate(layout);
      ++layouts;
      if (estimate.fits()) seconds.push_back(estimate.step_seconds());
    } catch (const Error&) {
      continue;
    }
  }
  std::ranges::sort(seconds);
  const LayoutSearch search = search_layouts(estimator, 24, 5);
  EXPECT_EQ(search.layouts, layouts);
  EXPECT_EQ(search.fitting, static_cast<std::int64_t>(seconds.size()));
  EXPECT_LT(search.simulated, search.fitting);
  ASSERT_EQ(search.best.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(search.best[i].step_seconds(), seconds[i]);
}

TEST(LayoutSearchTest, WhatIsFoundFitsAndUsesAllDevices) {
  const TrainingEstimator estimator(test::planned_task("deepseek-v3"), load_hardware("h800"));
  const LayoutSearch search = search_layouts(estimator, 2048, 3);
  ASSERT_FALSE(search.best.empty());
  for (const TrainingEstimate& estimate : search.best) {
    EXPECT_TRUE(estimate.fits());
    EXPECT_EQ(estimate.layout.devices(), 2048);
  }
  EXPECT_LE(search.best.front().step_seconds(), estimator.estimate(test::report_layout()).step_seconds());
}

// Technical report, section 3.2: no tensor parallelism. It is among what is searched, and slower.
TEST(LayoutSearchTest, DeepSeekV3TrainsFastestWithoutTensorParallelism) {
  const TrainingEstimator estimator(test::planned_task("deepseek-v3"), load_hardware("h800"));
  const auto layouts = possible_layouts(estimator.task(), 2048, {});
  EXPECT_TRUE(std::ranges::any_of(layouts, [](const TrainingLayout& layout) { return layout.tp == 8; }));
  for (const TrainingEstimate& estimate : search_layouts(estimator, 2048, 5).best) {
    EXPECT_EQ(estimate.layout.tp, 1) << layout_text(estimate.layout);
    EXPECT_EQ(estimate.layout.cp, 1) << layout_text(estimate.layout);
  }
}

// The report's second phase of context extension: 480 sequences of 128 K.
TEST(LayoutSearchTest, LongSequencesAreCut) {
  TrainingTask task = test::planned_task("deepseek-v3");
  task.sequence_length = 131072;
  task.batch = 480;
  const LayoutSearch search = search_layouts({task, load_hardware("h800")}, 2048, 1);
  ASSERT_EQ(search.best.size(), 1U);
  EXPECT_GE(search.best.front().layout.cp, 8) << layout_text(search.best.front().layout);
}

TEST(LayoutSearchTest, TooFewDevicesHaveNoneThatFits) {
  const TrainingEstimator estimator(test::planned_task("deepseek-v3"), load_hardware("h800"));
  const LayoutSearch search = search_layouts(estimator, 8, 3);
  EXPECT_GT(search.layouts, 0);
  EXPECT_EQ(search.fitting, 0);
  EXPECT_TRUE(search.best.empty());
}

}  // namespace
}  // namespace fathom
