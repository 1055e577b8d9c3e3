#include "train/batch_plan.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

BatchPlan ramp(std::int64_t steps, std::int64_t batch, std::int64_t unit, std::int64_t from,
               const RunPosition& until) {
  return {steps, batch, unit, BatchPlan::Ramp{from, until}};
}

TEST(BatchPlanTest, WithoutARampEveryStepTakesTheSame) {
  const BatchPlan plan(10, 16, 4, std::nullopt);
  EXPECT_EQ(plan.batch_size(0), 16);
  EXPECT_EQ(plan.batch_size(9), 16);
  EXPECT_EQ(plan.sequences(), 160);
  EXPECT_EQ(plan.sequences_before(3), 48);
}

TEST(BatchPlanTest, TheRampIsLinearInWholeMicroBatches) {
  const BatchPlan plan = ramp(10, 10, 2, 2, {.steps = 8});
  const std::vector<std::int64_t> expected = {2, 2, 4, 4, 6, 6, 8, 8, 10, 10};
  for (std::size_t step = 0; step < expected.size(); ++step)
    EXPECT_EQ(plan.batch_size(static_cast<std::int64_t>(step)), expected[step]) << step;
  EXPECT_EQ(plan.batch_size(12), 10) << "beyond the run";
}

/// The sum over steps, which `sequences_before` has in closed form.
TEST(BatchPlanTest, SequencesAreTheSumOfTheBatches) {
  for (const std::int64_t steps : {1, 2, 7, 30})
    for (const std::int64_t unit : {1, 3})
      for (const std::int64_t from : {1, 2, 20})
        for (std::int64_t length = 0; length <= steps; ++length) {
          const BatchPlan plan = ramp(steps, 24 * unit, unit, from * unit, {.steps = length});
          std::int64_t sum = 0;
          for (std::int64_t step = 0; step <= steps + 2; ++step) {
            ASSERT_EQ(plan.sequences_before(step), sum)
                << steps << ' ' << unit << ' ' << from << ' ' << length;
            sum += plan.batch_size(step);
          }
        }
}

TEST(BatchPlanTest, PartsOfTheTokensAreReachedAtTheFirstStepThatHasThem) {
  const BatchPlan plan = ramp(10, 10, 2, 2, {.steps = 8});  // sums 2 4 8 12 18 24 32 40 50 60
  EXPECT_EQ(plan.step_at({.steps = 3}), 3);
  EXPECT_EQ(plan.step_at({.token_percent = 0}), 0);
  EXPECT_EQ(plan.step_at({.token_percent = 20}), 4);  // exactly 12 of 60
  EXPECT_EQ(plan.step_at({.token_percent = 20.1}), 5);
  EXPECT_EQ(plan.step_at({.token_percent = 100}), 10);
  // 7 % of 100 is 7.000000000000001 in floating point.
  EXPECT_EQ(BatchPlan(100, 1, 1, std::nullopt).step_at({.token_percent = 7}), 7);
}

TEST(BatchPlanTest, ARampOverAPartOfTheTokensIsTheShortestThatHasThem) {
  for (const double percent : {0.0, 1.0, 3.2, 50.0, 99.0, 100.0}) {
    const BatchPlan plan = ramp(200, 30, 2, 6, {.token_percent = percent});
    const std::int64_t length = plan.ramp_steps();
    const double part = percent / 100;
    EXPECT_GE(static_cast<double>(plan.sequences_before(length)),
              (part - 1e-9) * static_cast<double>(plan.sequences()));
    if (length == 0) continue;
    const BatchPlan shorter = ramp(200, 30, 2, 6, {.steps = length - 1});
    EXPECT_LT(static_cast<double>(shorter.sequences_before(length - 1)),
              part * static_cast<double>(shorter.sequences()));
  }
}

/// Technical report, section 4.2: 14.8T tokens in sequences of 4,096; 3,072 to 15,360 over the first 469B.
TEST(BatchPlanTest, TheReportsRampHasItsTokens) {
  const BatchPlan plan = ramp(240'209, 15'360, 1, 3'072, {.token_percent = 100 * 469.0 / 14'800});
  constexpr double kSequence = 4096;
  EXPECT_NEAR(static_cast<double>(plan.sequences()) * kSequence, 14.8e12, 1e9);
  EXPECT_NEAR(static_cast<double>(plan.sequences_before(plan.ramp_steps())) * kSequence, 469e9, 1e8);
  EXPECT_EQ(plan.batch_size(0), 3'072);
  EXPECT_EQ(plan.batch_size(plan.ramp_steps()), 15'360);
}

TEST(BatchPlanTest, LongRunsDoNotOverflow) {
  const BatchPlan plan = ramp(std::int64_t{1} << 40, 1 << 12, 1, 1, {.token_percent = 50});
  EXPECT_GT(plan.sequences(), std::int64_t{1} << 51);
  EXPECT_LT(plan.sequences(), std::int64_t{1} << 52);
}

}  // namespace
}  // namespace fathom
