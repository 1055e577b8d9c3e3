#include "train/schedule.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

constexpr LearningRateSchedule kSchedule = {
    .peak = 2.0, .floor = 0.5, .warmup_steps = 4, .decay_steps = 6, .steps = 20};

TEST(LearningRateScheduleTest, RisesLinearlyToThePeak) {
  EXPECT_DOUBLE_EQ(kSchedule.at(0), 0.5);
  EXPECT_DOUBLE_EQ(kSchedule.at(1), 1.0);
  EXPECT_DOUBLE_EQ(kSchedule.at(3), 2.0);
}

TEST(LearningRateScheduleTest, StaysAtThePeakBetween) {
  for (int step = 4; step < 14; ++step) EXPECT_DOUBLE_EQ(kSchedule.at(step), 2.0) << step;
}

TEST(LearningRateScheduleTest, FallsAlongACosineToTheFloor) {
  EXPECT_NEAR(kSchedule.at(14), 0.5 + 1.5 * 0.5 * (1 + 0.86602540378443865), 1e-12);  // cos(pi / 6)
  EXPECT_NEAR(kSchedule.at(16), 1.25, 1e-12);                                         // half way
  EXPECT_NEAR(kSchedule.at(19), 0.5, 1e-12);
  EXPECT_NEAR(kSchedule.at(25), 0.5, 1e-12);
}

TEST(LearningRateScheduleTest, WithoutWarmupOrDecayIsConstant) {
  constexpr LearningRateSchedule constant = {.peak = 3.0, .floor = 0, .steps = 5};
  for (int step = 0; step < 7; ++step) EXPECT_DOUBLE_EQ(constant.at(step), 3.0);
}

/// The report's run (section 4.2) at a thousandth of its length.
TEST(LearningRateScheduleTest, ReportsRecipeHasItsPublishedValues) {
  constexpr LearningRateSchedule report = {
      .peak = 2.2e-4, .floor = 2.2e-5, .warmup_steps = 2, .decay_steps = 4300, .steps = 14'300};
  EXPECT_DOUBLE_EQ(report.at(9'999), 2.2e-4);
  EXPECT_NEAR(report.at(10'000 + 2'149), (2.2e-4 + 2.2e-5) / 2, 1e-12);
  EXPECT_NEAR(report.at(14'299), 2.2e-5, 1e-15);
}

}  // namespace
}  // namespace fathom
