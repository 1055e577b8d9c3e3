// Losses of which each target has a weight of its own, as policy gradients need.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "model/random_batch.h"
#include "model/target_logprobs.h"
#include "model/transformer.h"
#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

class WeightedTargetsTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  Context context_{pool_};
  ModelConfig config_ = test::tiny_v3();
  TransformerWeights weights_ = random_weights(config_, 3);
  Transformer model_{config_, weights_, 16};
  Batch batch_ = random_batch(config_, 2, 8, 5);
  LossFactors factors_{.mtp = 0, .balance = 0};

  WeightedTargetsTest() {
    batch_.targets[2] = -1;
    batch_.targets[9] = -1;
  }

  struct Result {
    Losses losses;
    TransformerWeights gradients;
  };
  Result learn() const {
    Result result{{}, zero_weights(config_)};
    Transformer::Saved saved;
    result.losses = model_.forward(context_, batch_, factors_, &saved);
    model_.backward(context_, batch_, factors_, 1.0, saved, result.gradients);
    return result;
  }
  static std::vector<float> head_gradient(const Result& result) {
    const std::span<const float> values = result.gradients.lm_head.weight.values();
    return {values.begin(), values.end()};
  }
};

TEST_F(WeightedTargetsTest, OneShareEachIsTheMean) {
  const Result mean = learn();
  batch_.weights.assign(16, 1.0F / 14.0F);
  const Result weighted = learn();
  EXPECT_NEAR(weighted.losses.main, mean.losses.main, 1e-6);
  EXPECT_EQ(weighted.losses.targets, 14);
  EXPECT_THAT(head_gradient(weighted), testing::Pointwise(testing::FloatNear(1e-6F), head_gradient(mean)));
}

TEST_F(WeightedTargetsTest, TheLossIsTheSumOfLogprobsTimesWeights) {
  Rng rng(4);
  for (int i = 0; i < 16; ++i) batch_.weights.push_back(static_cast<float>(rng.uniform() - 0.5));
  const std::vector<float> logprobs = target_logprobs(context_, model_, batch_);
  double expected = 0;
  for (std::size_t t = 0; t < logprobs.size(); ++t) {
    EXPECT_EQ(logprobs[t] == 0.0F, batch_.targets[t] < 0) << t;
    expected -= static_cast<double>(batch_.weights[t]) * static_cast<double>(logprobs[t]);
  }
  EXPECT_NEAR(learn().losses.main, expected, 1e-6 * std::abs(expected) + 1e-6);
}

TEST_F(WeightedTargetsTest, GradientsAreThoseOfFiniteDifferences) {
  // What is minimised is no sum of logprobs, but any function of them: of its derivatives the weights are
  // made.
  const auto objective = [&] {
    const std::vector<float> logprobs = target_logprobs(context_, model_, batch_);
    double sum = 0;
    for (std::size_t t = 0; t < logprobs.size(); ++t)
      if (batch_.targets[t] >= 0)
        sum += std::exp(0.3 * static_cast<double>(logprobs[t])) * (t % 3 == 0 ? -1.0 : 1.0);
    return sum;
  };
  const std::vector<float> logprobs = target_logprobs(context_, model_, batch_);
  for (std::size_t t = 0; t < logprobs.size(); ++t)
    batch_.weights.push_back(static_cast<float>(-0.3 * std::exp(0.3 * static_cast<double>(logprobs[t])) *
                                                (t % 3 == 0 ? -1.0 : 1.0)));
  const Result result = learn();
  const auto check = [&](const Tensor& weight, const Tensor& gradient, const char* name) {
    // The slope along the gradient itself is its length.
    double square = 0;
    for (const float value : gradient.values())
      square += static_cast<double>(value) * static_cast<double>(value);
    const double length = std::sqrt(square);
    ASSERT_GT(length, 1e-4) << name;
    Tensor moved = weight;  // shares its storage
    const Tensor before = weight.clone();
    const auto at = [&](double distance) {
      for (std::int64_t i = 0; i < moved.size(); ++i)
        moved.f32()[i] =
            before.f32()[i] + static_cast<float>(distance * static_cast<double>(gradient.f32()[i]) / length);
      return objective();
    };
    constexpr double kStep = 4e-3;  // less than to where a token changes its experts
    const double slope = (at(kStep) - at(-kStep)) / (2 * kStep);
    (void)at(0);
    EXPECT_NEAR(slope, length, 0.02 * length) << name;
  };
  check(weights_.lm_head.weight, result.gradients.lm_head.weight, "lm_head");
  check(weights_.norm, result.gradients.norm, "norm");
  check(weights_.layers[0].self_attn.kv_b_proj.weight, result.gradients.layers[0].self_attn.kv_b_proj.weight,
        "kv_b_proj");
}

TEST_F(WeightedTargetsTest, OtherNumbersOfWeightsAreRefused) {
  batch_.weights.assign(3, 1.0F);
  EXPECT_THAT(test::error_of([&] { (void)learn(); }), testing::HasSubstr("16 tokens with 3 weights"));
}

}  // namespace
}  // namespace fathom
