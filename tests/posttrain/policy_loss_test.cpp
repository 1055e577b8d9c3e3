#include "posttrain/policy_loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

/// See make_policy_loss_goldens.py.
const Json& policy_goldens() {
  static const Json goldens =
      read_json_file(test::source_folder() / "tests/posttrain/goldens/policy_losses.json");
  return goldens;
}

PolicyLossOptions options_of(const Json& named, std::int64_t constant_length) {
  PolicyLossOptions options;
  options.ratio = named["ratio"] == "token" ? PolicyRatio::token : PolicyRatio::sequence;
  options.weights = named["weights"] == "sequence_mean" ? TokenWeights::sequence_mean
                    : named["weights"] == "token_mean"  ? TokenWeights::token_mean
                                                        : TokenWeights::constant_length;
  options.kl = named["kl"] == "k1"   ? KlEstimator::k1
               : named["kl"] == "k2" ? KlEstimator::k2
                                     : KlEstimator::k3;
  options.clip_low = named["clip_low"].get<double>();
  options.clip_high = named["clip_high"].get<double>();
  options.kl_factor = named["kl_factor"].get<double>();
  options.constant_length = constant_length;
  return options;
}

TEST(PolicyLossTest, LossesAndGradientsAreThoseOfPyTorch) {
  using Rows = std::vector<std::vector<float>>;
  std::size_t cases = 0;
  for (const Json& golden : policy_goldens()) {
    const Rows current = golden["current"].get<Rows>();
    const Rows sampled = golden["sampled"].get<Rows>();
    const Rows reference = golden["reference"].get<Rows>();
    for (const Json& named : golden["cases"]) {
      const auto advantages =
          golden["advantages"][named["advantages"].get<std::string>()].get<std::vector<double>>();
      std::vector<AnswerLogprobs> answers;
      for (std::size_t i = 0; i < current.size(); ++i)
        answers.push_back({current[i], sampled[i], reference[i], advantages[i]});
      const PolicyLoss loss =
          policy_loss(answers, options_of(named, golden["constant_length"].get<std::int64_t>()));
      const std::string what = named["ratio"].get<std::string>() + " " + named["weights"].get<std::string>();
      EXPECT_NEAR(loss.loss, named["loss"].get<double>(), 1e-9) << what;
      EXPECT_NEAR(loss.kl, named["mean_kl"].get<double>(), 1e-9) << what;
      EXPECT_NEAR(loss.clipped, named["clipped"].get<double>(), 1e-12) << what;
      EXPECT_NEAR(loss.ratio, named["mean_ratio"].get<double>(), 1e-9) << what;
      const Rows expected = named["gradients"].get<Rows>();
      ASSERT_EQ(loss.gradients.size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_THAT(loss.gradients[i], testing::Pointwise(testing::FloatNear(1e-7F), expected[i])) << what;
      ++cases;
    }
  }
  EXPECT_EQ(cases, 24U);
}

TEST(PolicyLossTest, AdvantagesAreThoseOfPyTorch) {
  for (const Json& golden : policy_goldens()) {
    const auto rewards = golden["rewards"].get<std::vector<double>>();
    const auto near = [&](const char* kind) {
      return testing::Pointwise(testing::DoubleNear(1e-12),
                                golden["advantages"][kind].get<std::vector<double>>());
    };
    EXPECT_THAT(group_advantages(rewards, AdvantageKind::normalised), near("normalised"));
    EXPECT_THAT(group_advantages(rewards, AdvantageKind::centred), near("centred"));
  }
}

TEST(PolicyLossTest, AGroupOfEqualRewardsTeachesNothing) {
  EXPECT_FALSE(is_informative(std::vector<double>{1, 1, 1}));
  EXPECT_FALSE(is_informative(std::vector<double>{1}));
  EXPECT_TRUE(is_informative(std::vector<double>{1, 0, 1}));
  // 0.1 three times has a mean that is not 0.1 in floating point.
  EXPECT_THAT(group_advantages(std::vector<double>{0.1, 0.1, 0.1}, AdvantageKind::normalised), Each(0.0));
}

TEST(PolicyLossTest, WhereThePolicyIsTheOneThatSampledTheGradientIsTheAdvantage) {
  const std::vector<float> logprobs = {-1.0F, -2.0F};
  const std::vector<AnswerLogprobs> answers = {{logprobs, logprobs, {}, 0.5}, {logprobs, logprobs, {}, -0.5}};
  const PolicyLoss loss = policy_loss(answers, {});
  EXPECT_EQ(loss.loss, 0.0);
  EXPECT_EQ(loss.ratio, 1.0);
  EXPECT_THAT(loss.gradients[0], Each(-0.125F));
  EXPECT_THAT(loss.gradients[1], Each(0.125F));
}

TEST(PolicyLossTest, ARatioGainsNothingBeyondItsClip) {
  const std::vector<float> sampled = {-1.0F};
  const auto gradient = [&](float current, double advantage) {
    const std::vector<float> now = {current};
    return policy_loss(std::vector<AnswerLogprobs>{{now, sampled, {}, advantage}}, {}).gradients[0][0];
  };
  EXPECT_EQ(gradient(-0.5F, 1.0), 0.0F) << "likelier by more than 1.2, and good";
  EXPECT_GT(gradient(-0.5F, -1.0), 1.0F) << "likelier, and bad: it has to come back";
  EXPECT_EQ(gradient(-1.5F, -1.0), 0.0F) << "less likely by more than 0.8, and bad";
  EXPECT_LT(gradient(-1.5F, 1.0), 0.0F);
}

TEST(PolicyLossTest, WhatDoesNotFitIsNamed) {
  const std::vector<float> two = {-1.0F, -1.0F};
  const std::vector<float> one = {-1.0F};
  const auto error = [](const AnswerLogprobs& answer, const PolicyLossOptions& options) {
    return error_of([&] { (void)policy_loss(std::vector<AnswerLogprobs>{answer}, options); });
  };
  EXPECT_THAT(error({two, one, {}, 1}, {}), HasSubstr("2 tokens now, 1 when it was sampled"));
  EXPECT_THAT(error({two, two, {}, 1}, {.kl_factor = 0.1}), HasSubstr("by the reference"));
  EXPECT_THAT(error({{}, {}, {}, 1}, {}), HasSubstr("without tokens"));
  EXPECT_THAT(error({two, two, {}, 1}, {.clip_low = -1}), HasSubstr("clip-low is -1"));
  EXPECT_THAT(error({two, two, {}, 1}, {.weights = TokenWeights::constant_length}),
              HasSubstr("constant-length is 0"));
}

}  // namespace
}  // namespace fathom
