#include "posttrain/policy_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/thread_pool.h"
#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using testing::ElementsAre;

Rollout rollout(std::vector<std::int32_t> tokens, std::size_t prompt_tokens, double advantage) {
  Rollout made;
  made.tokens = std::move(tokens);
  made.prompt_tokens = prompt_tokens;
  made.advantage = advantage;
  return made;
}

TEST(RolloutTest, OnlyAnswersHaveTargets) {
  const std::vector<Rollout> rollouts = {rollout({1, 2, 3, 4}, 2, 0), rollout({5, 6}, 1, 0),
                                         rollout({7, 8, 9}, 2, 0)};
  const std::vector<std::size_t> chosen = {0, 2};
  const Batch batch = rollout_batch(rollouts, chosen);
  EXPECT_THAT(batch.tokens, ElementsAre(1, 2, 3, 7, 8));
  EXPECT_THAT(batch.targets, ElementsAre(-1, 3, 4, -1, 9));
  EXPECT_THAT(batch.sequences.offsets, ElementsAre(0, 3, 5));
  const std::vector<float> rows = {0, 1, 2, 0, 3};
  const std::vector<std::vector<float>> answers = answers_of_batch(rollouts, chosen, rows);
  EXPECT_THAT(answers, ElementsAre(ElementsAre(1, 2), ElementsAre(3)));
  EXPECT_EQ(batch_of_answers(rollouts, chosen, std::vector<std::vector<float>>{{1, 2}, {}, {3}}), rows);
}

TEST(RolloutTest, PassesTakeAsManyAsFit) {
  const std::vector<Rollout> rollouts = {rollout({1, 2, 3}, 1, 0), rollout({1, 2, 3}, 1, 0),
                                         rollout({1, 2, 3, 4, 5, 6, 7, 8}, 1, 0), rollout({1, 2}, 1, 0)};
  EXPECT_THAT(cut_rollouts(rollouts, std::vector<std::size_t>{0, 1, 2, 3}, 4),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2), ElementsAre(3)));
}

class PolicyTrainerTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  Context context_{pool_};
  ModelConfig config_ = test::tiny_v3();
  TransformerWeights weights_ = random_weights(config_, 3);
  Transformer policy_{config_, weights_, 32};
  Optimizer optimizer_{config_, weights_};
  std::vector<Rollout> rollouts_ = {rollout({1, 2, 3, 4, 5}, 2, 1.0), rollout({1, 2, 9, 8}, 2, -1.0),
                                    rollout({6, 3, 5, 5, 7}, 1, 0.5), rollout({6, 4, 4}, 1, -0.5)};

  /// ln p of each answer.
  static std::vector<double> of_answers(const std::vector<std::vector<float>>& logprobs) {
    std::vector<double> sums;
    for (const std::vector<float>& answer : logprobs)
      sums.push_back(std::accumulate(answer.begin(), answer.end(), 0.0));
    return sums;
  }
};

TEST_F(PolicyTrainerTest, GoodAnswersBecomeLikelierAndBadOnesLessLikely) {
  PolicyTrainer trainer(policy_, nullptr, optimizer_, {});
  const std::vector<double> before = of_answers(trainer.logprobs(context_, policy_, rollouts_));
  const PolicyUpdate update = trainer.learn(context_, rollouts_, 1e-3, 0);
  EXPECT_NEAR(update.loss, 0.0, 1e-6) << "advantages of a step sum to nought, and no ratio has moved yet";
  EXPECT_EQ(update.ratio, 1.0);
  EXPECT_GT(update.gradient_norm, 0.0);
  EXPECT_EQ(update.tokens, 11);
  const std::vector<double> after = of_answers(trainer.logprobs(context_, policy_, rollouts_));
  for (std::size_t i = 0; i < before.size(); ++i)
    EXPECT_GT((after[i] - before[i]) * rollouts_[i].advantage, 0.0) << "answer " << i;
}

TEST_F(PolicyTrainerTest, PassesOfAnySizeGiveTheSameGradient) {
  PolicyTrainer whole(policy_, nullptr, optimizer_, {});
  const double norm = whole.learn(context_, rollouts_, 0.0, 0).gradient_norm;
  PolicyTrainer parts(policy_, nullptr, optimizer_, {.loss = {}, .pass_tokens = 3});
  EXPECT_NEAR(parts.learn(context_, rollouts_, 0.0, 1).gradient_norm, norm, 1e-5 * norm);
}

TEST_F(PolicyTrainerTest, LaterUpdatesOfAStepAreClipped) {
  PolicyTrainer trainer(policy_, nullptr, optimizer_, {.loss = {}, .updates = 4});
  const PolicyUpdate update = trainer.learn(context_, rollouts_, 0.05, 0);
  EXPECT_NE(update.ratio, 1.0);
  EXPECT_GT(update.clipped, 0.0);
}

TEST_F(PolicyTrainerTest, WithoutAdvantagesThePolicyGoesBackToItsReference) {
  const TransformerWeights other = random_weights(config_, 4);
  const Transformer reference(config_, other, 32);
  PolicyTrainer trainer(policy_, &reference, optimizer_, {.loss = {.kl_factor = 0.1}});
  for (Rollout& one : rollouts_) one.advantage = 0;
  const double first = trainer.learn(context_, rollouts_, 2e-3, 0).kl;
  EXPECT_GT(first, 0.0);
  double last = first;
  for (std::int64_t step = 1; step < 12; ++step) last = trainer.learn(context_, rollouts_, 2e-3, step).kl;
  EXPECT_LT(last, 0.8 * first);
}

TEST_F(PolicyTrainerTest, WhatIsNotFiniteStopsBeforeWeightsMove) {
  PolicyTrainer trainer(policy_, nullptr, optimizer_, {});
  const std::vector<double> before = of_answers(trainer.logprobs(context_, policy_, rollouts_));
  rollouts_[0].advantage = std::numeric_limits<double>::infinity();
  EXPECT_THAT(test::error_of([&] { (void)trainer.learn(context_, rollouts_, 1e-3, 0); }),
              testing::HasSubstr("not finite"));
  EXPECT_EQ(of_answers(trainer.logprobs(context_, policy_, rollouts_)), before);
}

}  // namespace
}  // namespace fathom
