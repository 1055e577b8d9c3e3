#include "model/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "support/moe_layer.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

struct Layer {
  explicit Layer(const ModelConfig& model)
      : config(model), weights(test::hashed_moe_weights(config)), router(config, weights) {}

  Routing route(const Tensor& x) {
    return router.forward(Context{pool}, x, Sequences::uniform(1, x.dim(0)), nullptr);
  }

  ThreadPool pool{2};
  ModelConfig config;
  MoeWeights weights;
  Router router;
};

Tensor inputs(const ModelConfig& config, std::int64_t tokens) {
  return test::hashed_values(6, {tokens, config.hidden_size}, 1.0F);
}

TEST(RouterTest, BiasChangesSelectionButNotGateValues) {
  ModelConfig config = test::tiny_v3();
  config.norm_topk_prob = false;
  Layer layer(config);
  layer.weights.e_score_correction_bias.fill_zero();
  const Tensor x = inputs(config, 1);
  const std::vector<std::int32_t> before = layer.route(x).experts;
  std::int32_t other = 0;
  while (std::find(before.begin(), before.end(), other) != before.end()) ++other;

  layer.weights.e_score_correction_bias.f32()[other] = 100.0F;
  const Routing after = layer.route(x);
  ASSERT_EQ(after.experts[0], other);
  float logit = 0.0F;
  for (std::int64_t i = 0; i < config.hidden_size; ++i)
    logit += x.f32()[i] * layer.weights.router.f32()[other * config.hidden_size + i];
  const float affinity = 1.0F / (1.0F + std::exp(-logit));
  EXPECT_NEAR(after.gates[0], affinity * static_cast<float>(config.routed_scaling_factor), 1e-5);
}

TEST(RouterTest, NormalisedGatesSumToTheScalingFactor) {
  Layer layer(test::tiny_v3());
  const Routing routing = layer.route(inputs(layer.config, 9));
  for (std::size_t t = 0; t < 9; ++t)
    EXPECT_NEAR(std::accumulate(&routing.gates[t * 3], &routing.gates[t * 3] + 3, 0.0F), 2.5F, 1e-5);
}

TEST(RouterTest, SoftmaxGatesAreScaledAndNeverNormalised) {
  ModelConfig config = test::tiny_v2();
  config.num_experts_per_tok = config.n_routed_experts;  // all: the affinities' sum is 1
  config.norm_topk_prob = true;
  Layer layer(config);
  const Routing routing = layer.route(inputs(config, 1));
  EXPECT_NEAR(std::accumulate(routing.gates.begin(), routing.gates.end(), 0.0F), 1.5F, 1e-5);
}

TEST(RouterTest, ATokenStaysWithinItsGroups) {
  for (const ModelConfig& config : {test::tiny_v3(), test::tiny_v2(TopkMethod::group_limited_greedy)}) {
    Layer layer(config);
    const Routing routing = layer.route(inputs(config, 50));
    for (std::size_t t = 0; t < 50; ++t) {
      std::set<std::int32_t> groups;
      std::set<std::int32_t> experts;
      for (std::size_t j = 0; j < 3; ++j) {
        experts.insert(routing.experts[t * 3 + j]);
        groups.insert(routing.experts[t * 3 + j] / 2);
      }
      EXPECT_EQ(experts.size(), 3U);
      EXPECT_LE(groups.size(), 2U);
    }
  }
}

TEST(RouterTest, LoadCountsEveryChoice) {
  Layer layer(test::tiny_v3());
  const Routing routing = layer.route(inputs(layer.config, 40));
  std::vector<std::int64_t> counted(8, 0);
  for (const std::int32_t expert : routing.experts) ++counted[static_cast<std::size_t>(expert)];
  EXPECT_EQ(routing.load, counted);
  EXPECT_EQ(std::accumulate(counted.begin(), counted.end(), std::int64_t{0}), 120);
}

TEST(RouterTest, WeightsThatDoNotFitAreNamed) {
  Layer layer(test::tiny_v3());
  layer.weights.router = Tensor::zeros({8, 31});
  EXPECT_THROW(layer.route(inputs(layer.config, 2)), Error);
  layer.weights = test::hashed_moe_weights(layer.config);
  layer.weights.e_score_correction_bias = Tensor::zeros({7});
  EXPECT_THROW(layer.route(inputs(layer.config, 2)), Error);
}

}  // namespace
}  // namespace fathom
