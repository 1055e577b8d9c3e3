#include "infer/numa_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "base/thread_pool.h"
#include "infer/numa_report.h"
#include "model/synthetic_weights.h"
#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kTwoSockets = "pack:2 [numa(memory=1GB)] core:4 pu:2";

NumaModel model_of(const ModelConfig& config, DType type = DType::bf16) {
  return {config, synthetic_weight_sizes(config, type), 6000, nullptr};
}

NumaPlan plan_for(const std::string& machine, NumaPolicy policy, const NumaModel& model,
                  std::size_t threads = 0, unsigned node = 0) {
  return plan_numa(described_topology(machine), {policy, node}, threads, model);
}

std::uint64_t all_bytes(const NumaModel& model) {
  std::uint64_t bytes = 0;
  for (const WeightSize& weight : model.weights) bytes += weight.bytes;
  return bytes;
}

double sum_of_shares(const NumaPlan& plan) {
  double sum = 0;
  for (const NumaShare& share : plan.nodes) sum += share.step_share;
  return sum;
}

TEST(NumaPlanTest, PoliciesHaveNames) {
  for (const char* name : {"off", "distribute", "mirror", "node:0", "node:12"}) {
    const auto choice = numa_choice_of(name);
    ASSERT_TRUE(choice) << name;
    EXPECT_EQ(numa_choice_text(*choice), name);
  }
  for (const char* name :
       {"", "numactl", "node", "node:", "node:x", "node:-1", "node:1 ", "node:99999999999"})
    EXPECT_FALSE(numa_choice_of(name)) << name;
}

TEST(NumaPlanTest, EveryCoreHasAThreadOfItsOwn) {
  const ModelConfig config = test::tiny_v3();
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::distribute, model_of(config));
  ASSERT_THAT(plan.nodes, SizeIs(2));
  EXPECT_THAT(plan.nodes[0].threads,
              ElementsAre(ElementsAre(0), ElementsAre(2), ElementsAre(4), ElementsAre(6)));
  EXPECT_THAT(plan.nodes[1].threads,
              ElementsAre(ElementsAre(8), ElementsAre(10), ElementsAre(12), ElementsAre(14)));
  EXPECT_THAT(plan.warnings, IsEmpty());
}

TEST(NumaPlanTest, SecondThreadsOfCoresComeWhenAllHaveOne) {
  const ModelConfig config = test::tiny_v3();
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::distribute, model_of(config), 10);
  EXPECT_THAT(plan.nodes[0].threads,
              ElementsAre(ElementsAre(0), ElementsAre(2), ElementsAre(4), ElementsAre(6), ElementsAre(1)));
  EXPECT_THAT(plan.nodes[1].threads, SizeIs(5));
}

TEST(NumaPlanTest, DistributedWeightsAreThereOnceAndEvenly) {
  const ModelConfig config = test::tiny_v3();
  const NumaModel model = model_of(config);
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::distribute, model);
  EXPECT_EQ(plan.nodes[0].all_weight_bytes() + plan.nodes[1].all_weight_bytes(), all_bytes(model));
  for (const NumaShare& share : plan.nodes) {
    EXPECT_NEAR(share.step_share, 0.5, 0.01);
    EXPECT_EQ(share.cache_bytes, 3000U);
  }
  EXPECT_NEAR(sum_of_shares(plan), 1.0, 1e-12);
  for (const auto part : {WeightPart::attention, WeightPart::routed_experts, WeightPart::vocabulary})
    EXPECT_NEAR(static_cast<double>(plan.nodes[0].weight_bytes[static_cast<std::size_t>(part)]),
                static_cast<double>(plan.nodes[1].weight_bytes[static_cast<std::size_t>(part)]), 64.0);
}

/// Groups of experts are chosen together: each lies on both nodes, half and half.
TEST(NumaPlanTest, NeighboursAmongExpertsGoToDifferentNodes) {
  const ModelConfig config = test::tiny_v3();
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::distribute, model_of(config));
  EXPECT_FALSE(plan.node_of_expert(0, 0)) << "the first layer is dense";
  for (const std::int64_t layer : {1, 2})
    for (std::int64_t expert = 0; expert < config.n_routed_experts; ++expert)
      EXPECT_EQ(plan.node_of_expert(layer, expert), static_cast<std::size_t>(expert % 2));
}

TEST(NumaPlanTest, ExpertsAreSpreadByHowOftenTheyAreUsed) {
  const ModelConfig config = test::tiny_v3();
  NumaModel model = model_of(config);
  ASSERT_EQ(config.n_routed_experts, 8);
  const ExpertCounts usage = {{1000, 10, 10, 10, 10, 10, 10, 10}, {1, 1, 1, 1, 1, 1, 1, 1}};
  model.usage = &usage;
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::distribute, model);
  const std::size_t busy = *plan.node_of_expert(1, 0);
  for (std::int64_t expert = 1; expert < 8; ++expert) EXPECT_NE(plan.node_of_expert(1, expert), busy);
  EXPECT_EQ(std::ranges::count(plan.expert_nodes[2], busy), 4);
}

TEST(NumaPlanTest, UnevenNodesGetUnevenShares) {
  const ModelConfig config = test::tiny_v3();
  const NumaModel model = model_of(config);
  Topology machine = described_topology("pack:2 [numa(memory=1GB)] core:6 pu:1");
  machine.nodes[1].cores.resize(2);
  const NumaPlan plan = plan_numa(machine, {NumaPolicy::distribute}, 0, model);
  EXPECT_NEAR(plan.nodes[0].step_share, 0.75, 0.02);
  EXPECT_EQ(plan.rows_before(0, 100), 0);
  EXPECT_EQ(plan.rows_before(1, 100), 75);
  EXPECT_EQ(plan.rows_before(2, 100), 100);
  EXPECT_EQ(plan.rows_before(1, std::int64_t{1} << 60U), 3 * (std::int64_t{1} << 58U));
  EXPECT_THAT(plan.warnings, ElementsAre(HasSubstr("node 1 has 2, node 0 has 6")));
}

TEST(NumaPlanTest, ANodeWithoutThreadsIsLeftOut) {
  const ModelConfig config = test::tiny_v3();
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::distribute, model_of(config), 1);
  ASSERT_THAT(plan.nodes, SizeIs(1));
  EXPECT_THAT(plan.warnings, ElementsAre(HasSubstr("node 1 has no thread")));
  EXPECT_EQ(plan.nodes[0].step_share, 1.0);
}

TEST(NumaPlanTest, MoreThreadsThanUnitsAreWarnedOf) {
  const ModelConfig config = test::tiny_v3();
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::distribute, model_of(config), 18);
  EXPECT_THAT(plan.warnings, testing::Contains(HasSubstr("9 threads on 8 processing units")));
  EXPECT_THAT(plan.nodes[0].threads[8], ElementsAre(0));
}

TEST(NumaPlanTest, MirroringGivesEachNodeAllWeights) {
  const ModelConfig config = test::tiny_v3();
  const NumaModel model = model_of(config);
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::mirror, model);
  for (const NumaShare& share : plan.nodes) {
    EXPECT_EQ(share.all_weight_bytes(), all_bytes(model));
    EXPECT_NEAR(share.step_share, 0.5, 0.01);
  }
  EXPECT_FALSE(plan.node_of_expert(1, 0));
  EXPECT_EQ(plan.most_experts_on_a_node, 0);
}

TEST(NumaPlanTest, MirroringSaysHowManyBytesAreMissing) {
  const ModelConfig config = test::tiny_v3();
  const NumaModel model = model_of(config);
  const std::uint64_t needed = all_bytes(model) + 3000;
  const std::string machine = "pack:2 [numa(memory=10000)] core:2 pu:1";
  const std::string error = test::error_of([&] { plan_for(machine, NumaPolicy::mirror, model); });
  std::string digits = error.substr(error.find("GB: ") == std::string::npos ? 0 : error.find("GB: "));
  std::erase(digits, ',');
  EXPECT_THAT(digits, HasSubstr(std::to_string(needed - 10000) + " bytes are missing"));
  EXPECT_THAT(error, HasSubstr("--numa mirror: node 0"));
}

TEST(NumaPlanTest, DistributingWhatDoesNotFitIsAWarning) {
  const ModelConfig config = test::tiny_v3();
  const NumaPlan plan =
      plan_for("pack:2 [numa(memory=10000)] core:2 pu:1", NumaPolicy::distribute, model_of(config));
  EXPECT_THAT(plan.warnings, ElementsAre(HasSubstr("node 0 would hold"), HasSubstr("node 1 would hold")));
}

TEST(NumaPlanTest, OneNodeHasEverything) {
  const ModelConfig config = test::tiny_v3();
  const NumaModel model = model_of(config);
  const NumaPlan plan = plan_for(kTwoSockets, NumaPolicy::one_node, model, 0, 1);
  ASSERT_THAT(plan.nodes, SizeIs(1));
  EXPECT_EQ(plan.nodes[0].node, 1U);
  EXPECT_THAT(plan.nodes[0].threads[0], ElementsAre(8));
  EXPECT_EQ(plan.nodes[0].all_weight_bytes(), all_bytes(model));
  EXPECT_THAT(test::error_of([&] { plan_for(kTwoSockets, NumaPolicy::one_node, model, 0, 2); }),
              HasSubstr("--numa node:2: there is no such node; there are 0, 1"));
}

TEST(NumaPlanTest, UnknownMemoryIsSaidToBeUnchecked) {
  const ModelConfig config = test::tiny_v3();
  const NumaPlan plan = plan_for("pack:2 [numa] core:2 pu:1", NumaPolicy::mirror, model_of(config));
  EXPECT_THAT(plan.warnings, ElementsAre(HasSubstr("not known")));
}

TEST(NumaPlanTest, SizesOfSyntheticWeightsAreThoseOfTheWeights) {
  for (test::NamedConfig& named : test::tiny_models()) {
    ThreadPool pool(1);
    const std::vector<WeightSize> planned = synthetic_weight_sizes(named.config, DType::f16);
    ModelConfig config = named.config;
    const TransformerWeights weights = synthetic_weights(pool, config, DType::f16, 1);
    const std::vector<WeightSize> made = weight_sizes(config, weights);
    std::uint64_t bytes = 0;
    for (const WeightSize& weight : planned) bytes += weight.bytes;
    std::uint64_t made_bytes = 0;
    for (const WeightSize& weight : made) made_bytes += weight.bytes;
    EXPECT_EQ(bytes, made_bytes) << named.name;
  }
}

TEST(NumaPlanTest, TheBusiestOfTwoNodesHasMoreThanHalfOfATokensExperts) {
  EXPECT_NEAR(mean_of_most({1, 1}, 1), 1.0, 1e-9);
  EXPECT_NEAR(mean_of_most({2, 2}, 2), 2.0 / 6 * 2 + 4.0 / 6 * 1, 1e-9);  // of 6 pairs 2 are of one urn
  EXPECT_NEAR(mean_of_most({5}, 3), 3.0, 1e-9);
  // Simulated with 2,000,000 draws of numpy's generator: 5.077.
  EXPECT_NEAR(mean_of_most({128, 128}, 8), 5.077, 2e-3);
}

TEST(NumaReportTest, TellsWhatEachNodeHasAndReads) {
  const ModelConfig config = test::tiny_v3();
  const NumaPlan plan = plan_for("pack:2 [numa] core:4 pu:2", NumaPolicy::distribute, model_of(config));
  const std::string text = numa_plan_text(plan);
  EXPECT_THAT(text, HasSubstr("numa distribute: 2 node(s), 8 threads"));
  EXPECT_THAT(text, HasSubstr("routed experts"));
  EXPECT_THAT(text, HasSubstr("warning: the memory of nodes is not known"));
  const OrderedJson json = numa_plan_json(plan);
  EXPECT_EQ(json["policy"], "distribute");
  EXPECT_EQ(json["nodes"][1]["threads"][0][0], 8);
  EXPECT_EQ(json["nodes"][0]["weight_bytes"]["routed experts"],
            plan.nodes[0].weight_bytes[static_cast<std::size_t>(WeightPart::routed_experts)]);
  EXPECT_EQ(json["warnings"].size(), 1U);
}

}  // namespace
}  // namespace fathom
