#include "dist/expert_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/fp8_weights.h"
#include "model/moe.h"
#include "support/error_text.h"
#include "support/moe_layer.h"
#include "support/ranks.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::hashed_values;

constexpr double kAlpha = 0.3;

/// What a MoE layer makes of some tokens.
struct LayerPass {
  Tensor y;
  Tensor dx;
  MoeWeights grads;
};

LayerPass run_layer(const Context& context, const ModelConfig& config, const MoeWeights& weights,
                    const Tensor& x, const Tensor& dy) {
  const Moe moe(config, weights);
  const Sequences sequences{{0, x.dim(0)}};
  Moe::Saved saved;
  Moe::Deltas deltas;
  LayerPass pass;
  pass.y = moe.forward(context, x, sequences, &saved);
  pass.dx = moe.backward_input(context, dy, sequences, kAlpha, saved, deltas);
  pass.grads = test::zeros_like(weights);
  moe.backward_weight(context, x, saved, deltas, pass.grads);
  return pass;
}

/// Of so many tokens, of which each rank has others.
Tensor tokens_of(int rank, std::uint32_t seed, std::int64_t count, std::int64_t hidden) {
  return hashed_values(seed + 50 * static_cast<std::uint32_t>(rank), {count, hidden}, 1.0F);
}

/// The weights without the experts that a rank does not hold.
MoeWeights held_weights(MoeWeights weights, const ExpertPeers& peers) {
  for (std::size_t e = 0; e < weights.experts.size(); ++e)
    if (!peers.holds(0, static_cast<std::int64_t>(e))) weights.experts[e] = {};
  return weights;
}

void quantize(const Context& context, MoeWeights& moe) {
  TransformerWeights whole;
  whole.layers.resize(1);
  whole.layers[0].moe = moe;
  quantize_weights(context, whole);
  moe = whole.layers[0].moe;
}

/// |a - b| / |b|, by lengths.
double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  double difference = 0;
  double length = 0;
  for (std::size_t i = 0; i < b.values().size(); ++i) {
    const auto x = static_cast<double>(a.values()[i]);
    const auto y = static_cast<double>(b.values()[i]);
    difference += (x - y) * (x - y);
    length += y * y;
  }
  return length > 0 ? std::sqrt(difference / length) : std::sqrt(difference);
}

struct Spread {
  int ranks = 2;
  int ranks_per_node = 1;
};

struct SpreadResult {
  double output = 0;   // largest distance of any rank's
  double input = 0;    // of input gradients
  double weights = 0;  // of weight gradients
};

/// Runs the layer with its experts spread, and compares with each rank's tokens on one rank that has all.
SpreadResult compare(const ModelConfig& config, const Spread& spread, Precision precision) {
  const auto count = static_cast<std::size_t>(spread.ranks);
  std::vector<LayerPass> spread_passes(count);
  std::vector<LayerPass> whole_passes(count);
  test::on_ranks(spread.ranks, [&](Communicator& ranks) {
    ThreadPool pool(1);
    const Context alone{pool, precision};
    ExpertExchange exchange(ranks, config.n_routed_experts, spread.ranks_per_node);
    const Context with_peers{pool, precision, &exchange};
    MoeWeights weights = test::hashed_moe_weights(config);
    if (precision == Precision::fp8) quantize(alone, weights);
    const MoeWeights held = held_weights(weights, exchange);
    // The second rank has no tokens at all, and still works for the others.
    const std::int64_t tokens = ranks.rank() == 1 ? 0 : 5 + ranks.rank();
    const Tensor x = tokens_of(ranks.rank(), 6, tokens, config.hidden_size);
    const Tensor dy = tokens_of(ranks.rank(), 7, tokens, config.hidden_size);
    const auto rank = static_cast<std::size_t>(ranks.rank());
    spread_passes[rank] = run_layer(with_peers, config, held, x, dy);
    if (tokens > 0) whole_passes[rank] = run_layer(alone, config, weights, x, dy);
  });

  SpreadResult result;
  for (std::size_t r = 0; r < count; ++r) {
    if (r == 1) continue;
    result.output = std::max(result.output, distance(spread_passes[r].y, whole_passes[r].y));
    result.input = std::max(result.input, distance(spread_passes[r].dx, whole_passes[r].dx));
    result.weights =
        std::max(result.weights, distance(spread_passes[r].grads.router, whole_passes[r].grads.router));
  }
  for (std::int64_t e = 0; e < config.n_routed_experts; ++e) {
    const auto at = static_cast<std::size_t>(e);
    const auto holder = static_cast<std::size_t>(e / (config.n_routed_experts / spread.ranks));
    for (LinearWeight MlpWeights::*map :
         {&MlpWeights::gate_proj, &MlpWeights::up_proj, &MlpWeights::down_proj}) {
      const Tensor& got = (spread_passes[holder].grads.experts[at].*map).weight;
      Tensor wanted = Tensor::zeros(got.shape());
      for (std::size_t r = 0; r < count; ++r) {
        if (r == 1) continue;
        const Tensor& part = (whole_passes[r].grads.experts[at].*map).weight;
        for (std::size_t i = 0; i < wanted.values().size(); ++i) wanted.values()[i] += part.values()[i];
      }
      result.weights = std::max(result.weights, distance(got, wanted));
    }
  }
  return result;
}

ModelConfig layer_config() {
  ModelConfig config = test::tiny_v3();
  config.n_routed_experts = 16;
  config.n_group = 4;
  config.topk_group = 2;
  config.num_experts_per_tok = 4;
  return config;
}

class ExpertExchangeTest : public testing::TestWithParam<Spread> {};

// Sums over a token's experts are taken rank by rank instead of in the order of its choices.
TEST_P(ExpertExchangeTest, ALayerWithItsExpertsSpreadComputesTheSame) {
  const SpreadResult result = compare(layer_config(), GetParam(), Precision::f32);
  EXPECT_LT(result.output, 1e-6);
  EXPECT_LT(result.input, 1e-6);
  EXPECT_LT(result.weights, 1e-6);
}

TEST_P(ExpertExchangeTest, WithoutSharedExpertsToo) {
  ModelConfig config = layer_config();
  config.n_shared_experts = 0;
  const SpreadResult result = compare(config, GetParam(), Precision::f32);
  EXPECT_LT(result.output, 1e-6);
  EXPECT_LT(result.input, 1e-6);
  EXPECT_LT(result.weights, 1e-6);
}

// What goes to the experts is rounded as it would be without the way; what comes back in BF16 is rounded once
// more for each hop, by 2^-9 at most, and where one token more shares a gradient's tile, FP8 may round that
// otherwise.
TEST_P(ExpertExchangeTest, NarrowRecipesLoseWhatBf16LosesOnTheWayBack) {
  for (const Precision precision : {Precision::bf16, Precision::fp8}) {
    const SpreadResult result = compare(layer_config(), GetParam(), precision);
    EXPECT_LT(result.output, 0x1p-8);
    EXPECT_LT(result.input, 0x1p-8);
    EXPECT_LT(result.weights, precision == Precision::fp8 ? 0.05 : 0x1p-8);
  }
}

INSTANTIATE_TEST_SUITE_P(Spreads, ExpertExchangeTest,
                         testing::Values(Spread{2, 1}, Spread{4, 1}, Spread{4, 4}, Spread{4, 2}, Spread{8, 2},
                                         Spread{8, 4}),
                         [](const auto& spread) {
                           return std::to_string(spread.param.ranks) + "RanksBy" +
                                  std::to_string(spread.param.ranks_per_node);
                         });

TEST(ExpertShareTest, ExpertsMustDivide) {
  EXPECT_EQ(expert_share(16, 1, 4).begin, 4);
  EXPECT_EQ(expert_share(16, 1, 4).end, 8);
  EXPECT_THAT(test::error_of([] { expert_share(16, 0, 3); }),
              testing::HasSubstr("16 experts do not divide over 3 processes"));
}

}  // namespace
}  // namespace fathom
