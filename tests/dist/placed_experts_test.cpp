// Inference with experts placed over ranks, with and without redundant copies, against one process.

#include "dist/placed_experts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "dist/collectives.h"
#include "model/transformer.h"
#include "support/error_text.h"
#include "support/ranks.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

/// Sums over a token's experts are taken rank by rank, so f32 rounds otherwise, layer after layer.
constexpr double kOtherOrder = 1e-5;

struct Placing {
  int ranks = 2;
  int ranks_per_node = 0;
  std::int64_t redundant = 0;
};

/// Selection by a bias that makes the lower half of the experts busy.
TransformerWeights skewed_weights(const ModelConfig& config) {
  TransformerWeights weights = random_weights(config, 9);
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    if (!config.is_moe_layer(i)) continue;
    Tensor& bias = weights.layers[static_cast<std::size_t>(i)].moe.e_score_correction_bias;
    for (std::int64_t e = 0; e < bias.size(); ++e)
      bias.f32()[e] = 0.05F * static_cast<float>((e * 5 + i) % bias.size());
  }
  return weights;
}

void drop_what_others_hold(const ModelConfig& config, const ExpertPeers& peers, TransformerWeights& weights) {
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    if (!config.is_moe_layer(i)) continue;
    std::vector<MlpWeights>& experts = weights.layers[static_cast<std::size_t>(i)].moe.experts;
    for (std::int64_t e = 0; e < config.n_routed_experts; ++e)
      if (!peers.holds(i, e)) experts[static_cast<std::size_t>(e)] = {};
  }
}

ModelConfig placed_config() {
  ModelConfig config = test::tiny_v3();
  config.n_routed_experts = 16;
  config.n_group = 4;
  config.topk_group = 2;
  config.num_experts_per_tok = 4;
  return config;
}

/// Two passes of a rank: a prompt's chunk and a token; the second rank has none in the first.
std::vector<std::vector<std::int32_t>> passes_of(int rank, const ModelConfig& config) {
  std::vector<std::vector<std::int32_t>> passes(2);
  for (int i = 0; i < (rank == 1 ? 0 : 12 + 5 * rank); ++i)
    passes[0].push_back(static_cast<std::int32_t>((rank * 17 + i * i) % config.vocab_size));
  passes[1].push_back(7 + rank);
  return passes;
}

struct Ran {
  std::vector<float> logits;
  ExpertCounts counts;
};

Ran run_passes(const Context& context, const ModelConfig& config, const TransformerWeights& weights,
               int rank) {
  const Transformer model(config, weights, 64);
  LatentCache cache(config, 64);
  LatentCache* const caches[] = {&cache};
  Ran ran;
  for (const std::vector<std::int32_t>& tokens : passes_of(rank, config)) {
    const Sequences one = Sequences::uniform(1, static_cast<std::int64_t>(tokens.size()));
    const Tensor logits =
        model.head(context, model.forward_cached(context, tokens, {one, caches}, &ran.counts));
    ran.logits.insert(ran.logits.end(), logits.values().begin(), logits.values().end());
  }
  return ran;
}

double largest_gap(const std::vector<float>& got, const std::vector<float>& expected) {
  EXPECT_EQ(got.size(), expected.size());
  double gap = 0;
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    gap = std::max(gap, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return gap / largest;
}

class PlacedExpertsTest : public testing::TestWithParam<Placing> {};

TEST_P(PlacedExpertsTest, LogitsAreThoseOfOneProcess) {
  const ModelConfig config = placed_config();
  const TransformerWeights whole = skewed_weights(config);
  const ExpertCounts loads(2, {900, 10, 10, 10, 300, 200, 10, 10, 10, 10, 10, 10, 10, 10, 10, 800});
  test::on_ranks(
      GetParam().ranks,
      [&](Communicator& ranks) {
        ThreadPool pool(1);
        const Ran alone = run_passes({pool}, config, whole, ranks.rank());
        PlacedExperts experts(ranks, config, GetParam().redundant, loads);
        TransformerWeights held = whole;
        drop_what_others_hold(config, experts, held);
        const Ran placed = run_passes({.pool = pool, .expert_peers = &experts}, config, held, ranks.rank());
        EXPECT_LT(largest_gap(placed.logits, alone.logits), kOtherOrder);
        EXPECT_EQ(placed.counts, alone.counts);
      },
      GetParam().ranks_per_node);
}

INSTANTIATE_TEST_SUITE_P(Placings, PlacedExpertsTest,
                         testing::Values(Placing{1, 0, 0}, Placing{1, 0, 4}, Placing{2, 0, 0},
                                         Placing{2, 0, 4}, Placing{2, 1, 2}, Placing{4, 0, 0},
                                         Placing{4, 0, 8}, Placing{4, 2, 0}, Placing{4, 2, 8},
                                         Placing{4, 1, 16}),
                         [](const auto& p) {
                           return std::to_string(p.param.ranks) + "RanksBy" +
                                  std::to_string(p.param.ranks_per_node) + "Redundant" +
                                  std::to_string(p.param.redundant);
                         });

/// The most slots that come to one rank in the passes of a skewed model, over the mean.
double heaviest_share(std::int64_t redundant, const ExpertCounts& loads) {
  const ModelConfig config = placed_config();
  constexpr int kRanks = 4;
  std::array<std::int64_t, kRanks> arrived{};
  test::on_ranks(kRanks, [&](Communicator& ranks) {
    PlacedExperts experts(ranks, config, redundant, loads);
    Routing routing{.tokens = 0, .top_k = config.num_experts_per_tok, .experts = {}, .gates = {}, .load = {}};
    for (int t = 0; t < 400; ++t) {
      // Expert 0 of every token, expert 15 of every second, the others in turn.
      std::set<std::int32_t> chosen = {0};
      if (t % 2 == 0) chosen.insert(15);
      for (std::int32_t e = t + ranks.rank(); static_cast<std::int64_t>(chosen.size()) < routing.top_k; ++e)
        chosen.insert(1 + e % 14);
      routing.experts.insert(routing.experts.end(), chosen.begin(), chosen.end());
      ++routing.tokens;
    }
    routing.gates.assign(routing.experts.size(), 1.0F);
    arrived[static_cast<std::size_t>(ranks.rank())] =
        static_cast<std::int64_t>(experts.route(1, routing)->arrived().experts.size());
  });
  std::int64_t sum = 0;
  for (const std::int64_t slots : arrived) sum += slots;
  return static_cast<double>(*std::ranges::max_element(arrived)) * kRanks / static_cast<double>(sum);
}

TEST(PlacedExpertsLoadTest, RedundantCopiesByMeasuredCountsEvenRanksOut) {
  // As the routing has them: expert 0 in each of 400 tokens, 15 in each second, the rest about evenly.
  std::vector<std::int64_t> layer(16, 71);
  layer.front() = 400;
  layer.back() = 200;
  const ExpertCounts counts(2, layer);
  const double in_order = heaviest_share(0, {});
  const double placed = heaviest_share(0, counts);
  const double copied = heaviest_share(4, counts);
  EXPECT_GT(in_order, 1.4);  // expert 0 and three others on one rank
  EXPECT_GT(placed, 1.4);    // as with any four whole experts on each rank
  EXPECT_LT(copied, 1.06);   // its copies share it out
}

TEST(PlacedExpertsLoadTest, CopiesStayEvenWhereOneRankHasAllTokens) {
  const ModelConfig config = placed_config();
  std::vector<std::int64_t> layer(16, 10);
  layer.front() = 1000;
  std::array<std::int64_t, 4> arrived{};
  test::on_ranks(4, [&](Communicator& ranks) {
    PlacedExperts experts(ranks, config, 16, ExpertCounts(2, layer));
    const std::vector<std::int64_t> tokens = {0, 0, 1000, 0};
    experts.expect_tokens(tokens);
    Routing routing{.tokens = 0, .top_k = 1, .experts = {}, .gates = {}, .load = {}};
    if (ranks.rank() == 2) {
      routing.tokens = 1000;
      routing.experts.assign(1000, 0);
      routing.gates.assign(1000, 1.0F);
    }
    arrived[static_cast<std::size_t>(ranks.rank())] =
        static_cast<std::int64_t>(experts.route(2, routing)->arrived().experts.size());
  });
  // 17 copies on four ranks: four or five each.
  for (const std::int64_t slots : arrived) EXPECT_NEAR(static_cast<double>(slots), 250, 50);
}

TEST(PlacedExpertsLoadTest, CopiesMustDivideOverRanks) {
  test::on_ranks(3, [](Communicator& ranks) {
    EXPECT_THAT(
        test::error_of([&] { PlacedExperts(ranks, placed_config(), 0, {}); }),
        testing::HasSubstr("16 experts and 0 redundant copies do not divide over 3 processes: 2 redundant "
                           "ones would"));
  });
}

}  // namespace
}  // namespace fathom
