#include "model/balance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "support/moe_layer.h"

namespace fathom {
namespace {

using testing::ElementsAre;

Tensor affinities(std::int64_t tokens, std::int64_t experts) {
  Tensor s = test::hashed_values(11, {tokens, experts}, 0.45F);
  for (float& value : s.values()) value += 0.5F;
  return s;
}

TEST(BalanceTest, TheBiasMovesByGammaTowardsEvenLoad) {
  Tensor bias = Tensor::zeros({4});
  update_router_bias(bias, std::vector<std::int64_t>{1, 3, 2, 2}, 0.25);
  EXPECT_THAT(bias.values(), ElementsAre(0.25F, -0.25F, 0.0F, 0.0F));
  update_router_bias(bias, std::vector<std::int64_t>{1, 3, 2, 2}, 0.0);
  EXPECT_THAT(bias.values(), ElementsAre(0.25F, -0.25F, 0.0F, 0.0F));
  EXPECT_THROW(update_router_bias(bias, std::vector<std::int64_t>{1, 2}, 0.1), Error);
}

TEST(BalanceTest, MaxViolationIsTheBusiestExpertsExcess) {
  EXPECT_DOUBLE_EQ(max_violation(std::vector<std::int64_t>{5, 5, 5, 5}), 0.0);
  EXPECT_DOUBLE_EQ(max_violation(std::vector<std::int64_t>{8, 0, 0, 0}), 3.0);
  EXPECT_DOUBLE_EQ(max_violation(std::vector<std::int64_t>{0, 0}), 0.0);
  EXPECT_DOUBLE_EQ(max_violation({}), 0.0);
  const std::vector<std::vector<std::int64_t>> loads = {{4, 4}, {6, 2}};
  EXPECT_DOUBLE_EQ(mean_max_violation(loads), 0.25);
}

TEST(BalanceTest, EvenAffinitiesAndChoicesHaveLossOne) {
  ThreadPool pool(1);
  // Token t prefers expert t: f = 1 for all, and every P_i is 1/4.
  Tensor s = Tensor::zeros({4, 4});
  for (std::int64_t t = 0; t < 4; ++t) s.f32()[t * 5] = 0.5F;
  Tensor frequency;
  EXPECT_DOUBLE_EQ(sequence_balance_loss(Context{pool}, s, Sequences::uniform(1, 4), 1, frequency), 1.0);
  EXPECT_THAT(frequency.values(), ElementsAre(1.0F, 1.0F, 1.0F, 1.0F));
}

TEST(BalanceTest, SequencesWithoutTokensDoNotCount) {
  ThreadPool pool(1);
  const Tensor s = affinities(5, 6);
  Tensor frequency;
  const double loss = sequence_balance_loss(Context{pool}, s, {{0, 2, 5}}, 2, frequency);
  EXPECT_DOUBLE_EQ(sequence_balance_loss(Context{pool}, s, {{0, 0, 2, 2, 5, 5}}, 2, frequency), loss);
  EXPECT_DOUBLE_EQ(sequence_balance_loss(Context{pool}, affinities(0, 6), {{0}}, 2, frequency), 0.0);
}

TEST(BalanceTest, TheGradientIsTheSlopeOfTheLoss) {
  ThreadPool pool(2);
  const Context context{pool};
  const Sequences sequences{{0, 4, 9}};
  Tensor s = affinities(9, 6);
  Tensor frequency;
  sequence_balance_loss(context, s, sequences, 2, frequency);
  Tensor gradient = Tensor::zeros(s.shape());
  add_sequence_balance_gradient(context, s, sequences, frequency, 3.0, gradient);
  for (std::size_t i = 0; i < s.values().size(); ++i) {
    // Far from a change of the two highest, so that f stays what it is.
    constexpr float kStep = 1e-3F;
    const float kept = s.values()[i];
    Tensor ignored;
    s.values()[i] = kept + kStep;
    const double above = sequence_balance_loss(context, s, sequences, 2, ignored);
    s.values()[i] = kept - kStep;
    const double below = sequence_balance_loss(context, s, sequences, 2, ignored);
    s.values()[i] = kept;
    EXPECT_NEAR(gradient.values()[i], 3.0 * (above - below) / (2 * static_cast<double>(kStep)), 2e-5) << i;
  }
}

TEST(BalanceTest, TheBatchLossCountsWhatRoutingChose) {
  Tensor s = Tensor::zeros({2, 4});
  std::ranges::copy(std::vector<float>{0.5F, 0.25F, 0.25F, 0.5F, 0.75F, 0.25F, 0.25F, 0.25F}, s.f32());
  Tensor frequency;
  // f = 4 / (2 · 2) · load; P = means of the columns.
  const double loss = batch_balance_loss(s, std::vector<std::int64_t>{1, 2, 1, 0}, 2, false, frequency);
  EXPECT_THAT(frequency.values(), ElementsAre(1.0F, 2.0F, 1.0F, 0.0F));
  EXPECT_DOUBLE_EQ(loss, 0.625 + 2 * 0.25 + 0.25);
  // Both rows add up to 1.5.
  EXPECT_DOUBLE_EQ(batch_balance_loss(s, std::vector<std::int64_t>{1, 2, 1, 0}, 2, true, frequency),
                   loss / 1.5);
  EXPECT_DOUBLE_EQ(batch_balance_loss(affinities(0, 4), std::vector<std::int64_t>(4), 2, false, frequency),
                   0.0);
  EXPECT_THROW(batch_balance_loss(s, std::vector<std::int64_t>{1}, 2, false, frequency), Error);
}

TEST(BalanceTest, TheBatchLosssGradientIsItsSlope) {
  ThreadPool pool(2);
  const std::vector<std::int64_t> load = {2, 7, 1, 4, 0, 4};
  for (const bool normalised : {false, true}) {
    Tensor s = affinities(9, 6);
    Tensor frequency;
    batch_balance_loss(s, load, 2, normalised, frequency);
    Tensor gradient = Tensor::zeros(s.shape());
    add_batch_balance_gradient(Context{pool}, s, frequency, normalised, 3.0, gradient);
    for (std::size_t i = 0; i < s.values().size(); ++i) {
      constexpr float kStep = 1e-3F;
      Tensor ignored;
      const float kept = s.values()[i];
      s.values()[i] = kept + kStep;
      const double above = batch_balance_loss(s, load, 2, normalised, ignored);
      s.values()[i] = kept - kStep;
      const double below = batch_balance_loss(s, load, 2, normalised, ignored);
      s.values()[i] = kept;
      // f32 holds an affinity near 0.5 to 3e-8, 3e-5 of the step.
      EXPECT_NEAR(gradient.values()[i], 3.0 * (above - below) / (2 * static_cast<double>(kStep)), 5e-5)
          << i << ' ' << normalised;
    }
  }
}

}  // namespace
}  // namespace fathom
