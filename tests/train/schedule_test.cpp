#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "train/training_plan.h"

namespace fathom {
namespace {

constexpr double kRounding = 1e-12;

TrainingPlan plan_of(const std::string& section) {
  return {training_config_from_json(Json{{"training", Json::parse(section)}}, "c.json"), "c.json"};
}

TEST(TrainingPlanTest, SimpleKeysRiseStayAndFallAlongACosine) {
  const TrainingPlan plan = plan_of(
      R"({"steps": 20, "learning_rate": 2, "warmup_steps": 4, "decay_steps": 6, "final_learning_rate_factor": 0.25})");
  const auto at = [&](std::int64_t step) { return plan.at(step).learning_rate; };
  EXPECT_DOUBLE_EQ(at(0), 0.5);
  EXPECT_DOUBLE_EQ(at(1), 1.0);
  EXPECT_DOUBLE_EQ(at(3), 2.0);
  for (int step = 4; step < 14; ++step) EXPECT_DOUBLE_EQ(at(step), 2.0) << step;
  EXPECT_NEAR(at(14), 0.5 + 1.5 * 0.5 * (1 + 0.86602540378443865), kRounding);  // cos(pi / 6)
  EXPECT_NEAR(at(16), 1.25, kRounding);                                         // half way
  EXPECT_NEAR(at(19), 0.5, kRounding);
  EXPECT_NEAR(at(25), 0.5, kRounding) << "beyond the run";
}

TEST(TrainingPlanTest, WithoutWarmupOrDecayIsConstant) {
  const TrainingPlan plan =
      plan_of(R"({"steps": 5, "learning_rate": 3, "warmup_steps": 0, "decay_steps": 0})");
  for (int step = 0; step < 7; ++step) EXPECT_DOUBLE_EQ(plan.at(step).learning_rate, 3.0);
}

TEST(TrainingPlanTest, DefaultsFollowTheNumberOfSteps) {
  const TrainingPlan plan = plan_of(R"({"steps": 1000, "learning_rate": 1})");
  EXPECT_DOUBLE_EQ(plan.at(18).learning_rate, 19.0 / 20);
  EXPECT_DOUBLE_EQ(plan.at(699).learning_rate, 1.0);
  EXPECT_LT(plan.at(700).learning_rate, 1.0);
  EXPECT_NEAR(plan.at(999).learning_rate, 0.1, kRounding);
  EXPECT_DOUBLE_EQ(plan_of(R"({"steps": 1000000, "learning_rate": 1})").at(1999).learning_rate, 1.0);
  EXPECT_LT(plan_of(R"({"steps": 1000000, "learning_rate": 1})").at(1998).learning_rate, 1.0);
}

TEST(TrainingPlanTest, SegmentsFollowOneAnotherAndMayJump) {
  const TrainingPlan plan = plan_of(R"({"steps": 10,
      "mtp_loss_factor": [{"value": 0.3, "until": "50%"}, {"value": 0.1, "until": 8}, {"to": 0.2}]})");
  const std::vector<double> expected = {0.3, 0.3, 0.3, 0.3, 0.3, 0.1, 0.1, 0.1, 0.15, 0.2, 0.2};
  for (std::size_t step = 0; step < expected.size(); ++step)
    EXPECT_NEAR(plan.at(static_cast<std::int64_t>(step)).mtp_loss_factor, expected[step], kRounding) << step;
}

TEST(TrainingPlanTest, ASegmentWithoutStepsIsPassedOver) {
  const TrainingPlan plan = plan_of(
      R"({"steps": 4, "mtp_loss_factor": [{"value": 1, "until": 2}, {"value": 5, "until": 2}, {"value": 3}]})");
  EXPECT_EQ(plan.at(1).mtp_loss_factor, 1);
  EXPECT_EQ(plan.at(2).mtp_loss_factor, 3);
}

/// The report's run (section 4.2) at its length: 14.8T tokens, batches of 15,360 · 4,096 but for the ramp.
TEST(TrainingPlanTest, TheReportsRecipeHasItsPublishedValues) {
  const TrainingPlan plan = plan_of(R"({
      "sequence_length": 4096, "batch_size": 15360, "initial_batch_size": 3072, "steps": 240209,
      "batch_ramp_until": "3.1689189%",
      "learning_rate": [{"from": 0, "to": 2.2e-4, "until": 2000},
                        {"value": 2.2e-4, "until": "67.567568%"},
                        {"to": 2.2e-5, "until": "96.621622%", "shape": "cosine"},
                        {"value": 2.2e-5, "until": "98.871622%"},
                        {"value": 7.3e-6}],
      "mtp_loss_factor": [{"value": 0.3, "until": "67.567568%"}, {"value": 0.1}],
      "router_bias_update_rate": [{"value": 0.001, "until": "96.621622%"}, {"value": 0}]})");
  const auto tokens = [&](std::int64_t step) {
    return 4096.0 * static_cast<double>(plan.batches().sequences_before(step));
  };
  const auto first_step_from = [&](double wanted) {
    return static_cast<std::int64_t>(
               std::ceil((wanted - tokens(plan.batches().ramp_steps())) / (4096.0 * 15360.0))) +
           plan.batches().ramp_steps();
  };
  EXPECT_NEAR(plan.at(0).learning_rate, 2.2e-4 / 2000, 1e-18);
  EXPECT_DOUBLE_EQ(plan.at(1999).learning_rate, 2.2e-4);
  const std::int64_t decay = first_step_from(10.0e12);
  EXPECT_NEAR(plan.at(decay - 3).learning_rate, 2.2e-4, 1e-15);
  EXPECT_EQ(plan.at(decay - 3).mtp_loss_factor, 0.3);
  EXPECT_EQ(plan.at(decay + 2).mtp_loss_factor, 0.1);
  EXPECT_NEAR(plan.at(first_step_from(12.15e12)).learning_rate, (2.2e-4 + 2.2e-5) / 2, 1e-7);
  const std::int64_t tail = first_step_from(14.3e12);
  EXPECT_DOUBLE_EQ(plan.at(tail + 2).learning_rate, 2.2e-5);
  EXPECT_EQ(plan.at(tail - 3).router_bias_update_rate, 0.001);
  EXPECT_EQ(plan.at(tail + 2).router_bias_update_rate, 0);
  const std::int64_t last = first_step_from(14.633e12);
  EXPECT_DOUBLE_EQ(plan.at(last - 3).learning_rate, 2.2e-5);
  EXPECT_DOUBLE_EQ(plan.at(last + 2).learning_rate, 7.3e-6);
}

}  // namespace
}  // namespace fathom
