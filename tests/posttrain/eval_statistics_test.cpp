#include "posttrain/eval_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/rng.h"
#include "posttrain/eval_summary.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

constexpr double kRounding = 1e-12;

/// Figures of score_samples.py, which goes through all choices of k samples.
TEST(EvalStatisticsTest, FiguresAreThoseOfAnIndependentScorer) {
  const EvalRecord record = read_eval_record(test::golden("posttrain/goldens/samples.jsonl"));
  const Json expected = read_json_file(test::golden("posttrain/goldens/samples_expected.json"));
  const std::vector<TaskSummary> tasks = summarise(record.samples);
  ASSERT_EQ(tasks.size(), expected.size());
  for (const TaskSummary& task : tasks) {
    const Json& greedy = expected.at(task.task).at("greedy");
    EXPECT_NEAR(task.greedy->accuracy.value, greedy.at("pass@1"), kRounding);
    EXPECT_NEAR(task.greedy->accuracy.low, greedy.at("interval").at(0), kRounding);
    EXPECT_NEAR(task.greedy->accuracy.high, greedy.at("interval").at(1), kRounding);
    EXPECT_NEAR(task.greedy->tokens, greedy.at("tokens"), kRounding * 100);
    const Json& sampled = expected.at(task.task).at("sampled");
    EXPECT_EQ(2 * task.sampled->at.size() + 1, sampled.size());
    for (const auto& at : task.sampled->at) {
      EXPECT_NEAR(at.pass.value, sampled.at("pass@" + std::to_string(at.k)), kRounding) << at.k;
      EXPECT_NEAR(at.majority.value, sampled.at("maj@" + std::to_string(at.k)), kRounding) << at.k;
    }
    EXPECT_NEAR(task.sampled->tokens, sampled.at("tokens"), kRounding * 100);
  }
}

TEST(EvalStatisticsTest, RewardsOfItsSamplesAreThoseOfOurs) {
  for (const EvalSample& sample : read_eval_record(test::golden("posttrain/goldens/samples.jsonl")).samples) {
    const Task::Check check = check_number(sample.reference, sample.text);
    EXPECT_EQ(check.accuracy, sample.reward.accuracy) << sample.text;
    EXPECT_EQ(check.extracted, sample.reward.extracted) << sample.text;
  }
}

TEST(EvalStatisticsTest, PassAtKOfManySamplesStaysAChance) {
  EXPECT_EQ(pass_at_k(10'000, 0, 5000), 0);
  EXPECT_EQ(pass_at_k(10'000, 10'000, 1), 1);
  EXPECT_NEAR(pass_at_k(10'000, 1, 5000), 0.5, kRounding * 1e4);
  EXPECT_NE(test::error_of([] { pass_at_k(4, 5, 1); }), "no error");
  EXPECT_NE(test::error_of([] { pass_at_k(4, 1, 5); }), "no error");
}

TEST(EvalStatisticsTest, AmongEqualVotesTheFirstAnswerWins) {
  const std::vector<Vote> votes = {{"1", 0}, {"2", 1}, {"2", 1}, {"1", 0}, {"", 1}, {"", 1}, {"", 1}};
  EXPECT_EQ(majority_accuracy(votes), 0);
  EXPECT_EQ(majority_accuracy(std::vector<Vote>{{"", 1}}), 0);
  EXPECT_EQ(majority_at_k(votes, 3), 0.5) << "of 1 2 2 and 1 - -; the last one is no group";
}

TEST(EvalStatisticsTest, IntervalsHoldTheMeanAsOftenAsTheySay) {
  // 400 experiments of 60 throws: 95 % of the intervals hold the truth, give or take three standard
  // deviations (3.3 %) and the skew of small samples.
  constexpr int kExperiments = 400;
  constexpr double kTruth = 0.3;
  Rng rng(11);
  int wilson = 0;
  int bootstrap = 0;
  for (int i = 0; i < kExperiments; ++i) {
    std::vector<double> values(60);
    std::int64_t right = 0;
    for (double& value : values) {
      value = rng.uniform() < kTruth ? 1 : 0;
      right += value > 0 ? 1 : 0;
    }
    const Estimate w = wilson_interval(right, 60);
    wilson += w.low <= kTruth && kTruth <= w.high ? 1 : 0;
    if (i % 4 == 0) {
      const Estimate b = bootstrap_mean(values);
      EXPECT_NEAR(b.value, w.value, kRounding);
      bootstrap += b.low <= kTruth && kTruth <= b.high ? 1 : 0;
    }
  }
  EXPECT_NEAR(wilson / 400.0, 0.95, 0.035);
  EXPECT_NEAR(bootstrap / 100.0, 0.95, 0.07);
}

TEST(EvalStatisticsTest, ExtremesHaveIntervalsToo) {
  EXPECT_EQ(wilson_interval(0, 10).low, 0);
  EXPECT_NEAR(wilson_interval(0, 10).high, 0.2775, 1e-4);
  EXPECT_EQ(wilson_interval(10, 10).high, 1);
  EXPECT_EQ(wilson_interval(0, 0).high, 0);
  EXPECT_EQ(bootstrap_mean(std::vector<double>{}).value, 0);
}

}  // namespace
}  // namespace fathom
