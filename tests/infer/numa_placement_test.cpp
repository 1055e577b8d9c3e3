#include "infer/numa_placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "infer/text_model.h"
#include "model/synthetic_weights.h"
#include "model/transformer.h"
#include "support/error_text.h"
#include "support/recording_binder.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Sizes that quantised types take: rows of whole blocks.
ModelConfig blocky_model() {
  ModelConfig config = test::tiny_v3();
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.moe_intermediate_size = 32;
  config.q_lora_rank = 32;
  config.kv_lora_rank = 32;
  config.qk_nope_head_dim = 32;
  config.v_head_dim = 32;
  config.vocab_size = 300;
  return config;
}

std::vector<float> logits_of(ThreadPool& pool, const ModelConfig& config, const TransformerWeights& weights) {
  const Context context{pool};
  const Transformer model(config, weights, 32);
  LatentCache cache(config, 32, LatentType::f16);
  std::vector<float> all;
  for (const std::vector<std::int32_t>& tokens :
       {std::vector<std::int32_t>{5, 2, 7, 1, 4, 3}, std::vector<std::int32_t>{8},
        std::vector<std::int32_t>{2}}) {
    const Tensor logits = model.head(context, model.forward_cached(context, tokens, cache));
    all.insert(all.end(), logits.values().begin(), logits.values().end());
  }
  return all;
}

struct Pretended {
  std::shared_ptr<test::RecordingBinder> binder = std::make_shared<test::RecordingBinder>();
  PlacedModel placed;
};

Pretended place_on(const std::string& machine, const char* policy, const ModelConfig& config,
                   TransformerWeights& weights, std::size_t threads = 0) {
  Pretended pretended;
  pretended.placed = place_model(described_topology(machine), pretended.binder, *numa_choice_of(policy),
                                 threads, config, weights, {});
  return pretended;
}

constexpr const char* kTwoNodes = "pack:2 [numa] core:2 pu:2";
constexpr const char* kFourNodes = "numa:4 core:1 pu:1";

class NumaPlacementTest : public testing::TestWithParam<std::tuple<const char*, DType>> {};

TEST_P(NumaPlacementTest, ResultsAreTheSameToTheBit) {
  const auto [policy, type] = GetParam();
  ThreadPool plain(3);
  ModelConfig config = blocky_model();
  const TransformerWeights weights = synthetic_weights(plain, config, type, 1);
  const std::vector<float> expected = logits_of(plain, config, weights);
  for (const char* machine : {kTwoNodes, kFourNodes, "numa:1 core:2 pu:1"}) {
    if (std::string(policy) == "node:1" && std::string(machine).starts_with("numa:1")) continue;
    TransformerWeights placed = weights;
    const Pretended pretended = place_on(machine, policy, config, placed);
    EXPECT_EQ(logits_of(*pretended.placed.pool, config, placed), expected) << machine;
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, NumaPlacementTest,
                         testing::Combine(testing::Values("distribute", "mirror", "node:1"),
                                          testing::Values(DType::f32, DType::bf16, DType::q4_0,
                                                          DType::q8_0)));

TEST(NumaPlacementTest, ScalesOfBlocksMoveWithTheirWeights) {
  ThreadPool plain(2);
  TextModel model = load_text_model(test::tiny_checkpoint("tiny_fp8"));
  const std::vector<float> expected = logits_of(plain, model.config, model.weights);
  for (const char* policy : {"distribute", "mirror"}) {
    TransformerWeights placed = model.weights;
    const Pretended pretended = place_on(kTwoNodes, policy, model.config, placed);
    EXPECT_EQ(logits_of(*pretended.placed.pool, model.config, placed), expected) << policy;
    EXPECT_EQ(placed.lm_head.weight.data(), placed.embed_tokens.data()) << "tied, and must stay so";
  }
}

TEST(NumaPlacementTest, ThreadsAreBoundToCoresAndCallersToTheirNode) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  TransformerWeights weights = synthetic_weights(plain, config, DType::q4_0, 1);
  const Pretended pretended = place_on(kTwoNodes, "distribute", config, weights);
  pretended.placed.pool->parallel_for(4, [](std::size_t) {});
  EXPECT_THAT(pretended.binder->threads(), testing::UnorderedElementsAre(ElementsAre(0, 2), ElementsAre(2),
                                                                         ElementsAre(4), ElementsAre(6)));
  EXPECT_THAT(pretended.binder->spread(), ElementsAre(0, 1));
}

TEST(NumaPlacementTest, AnExpertLiesOnTheNodeOfThePlan) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  config.moe_intermediate_size = 1024;  // pages of their own
  TransformerWeights weights = synthetic_weights(plain, config, DType::q4_0, 1);
  const Pretended pretended = place_on(kTwoNodes, "distribute", config, weights);
  const NumaPlan& plan = *pretended.placed.plan;
  const Residence& residence = *pretended.placed.pool->residence();
  for (std::int64_t layer = 1; layer < config.num_hidden_layers; ++layer)
    for (std::int64_t expert = 0; expert < config.n_routed_experts; ++expert) {
      const MlpWeights& own =
          weights.layers[static_cast<std::size_t>(layer)].moe.experts[static_cast<std::size_t>(expert)];
      const std::size_t node = *plan.node_of_expert(layer, expert);
      for (const LinearWeight* map : {&own.gate_proj, &own.up_proj, &own.down_proj}) {
        const std::span<const std::byte> bytes = map->weight.bytes();
        EXPECT_EQ(residence.node_of(bytes.data()), node);
        EXPECT_EQ(residence.node_of(&bytes.back()), node);
        EXPECT_EQ(pretended.binder->node_of(bytes.data() + bytes.size() / 2), static_cast<int>(node));
      }
    }
}

TEST(NumaPlacementTest, RowsOfOtherMatricesAreSplit) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  config.vocab_size = 4096;
  TransformerWeights weights = synthetic_weights(plain, config, DType::q8_0, 1);
  const Pretended pretended = place_on(kFourNodes, "distribute", config, weights);
  const Tensor& head = weights.lm_head.weight;
  for (std::int64_t node = 0; node < 4; ++node)
    for (const std::int64_t row : {node * 1024, node * 1024 + 1023}) {
      const void* at = head.rows(row, row + 1).data();
      EXPECT_EQ(pretended.placed.pool->residence()->node_of(at), static_cast<std::size_t>(node)) << row;
    }
  const std::byte* middle = head.bytes().data() + head.byte_size() / 8;
  EXPECT_EQ(pretended.binder->node_of(middle), 0);
  EXPECT_EQ(pretended.binder->node_of(middle + head.byte_size() * 3 / 4), 3);
}

TEST(NumaPlacementTest, AreasDoNotOverlapAndHoldAllWeights) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  TransformerWeights weights = synthetic_weights(plain, config, DType::bf16, 1);
  const Pretended pretended = place_on(kTwoNodes, "distribute", config, weights);
  const auto& areas = pretended.binder->areas();
  for (std::size_t a = 1; a < areas.size(); ++a)
    EXPECT_LE(areas[a - 1].begin + areas[a - 1].bytes, areas[a].begin);
  visit_parameters(config, weights, [&](const ParameterSpec& spec, const Tensor& value, Tensor*) {
    if (value.shape().size() != 2) return;
    EXPECT_NE(pretended.binder->node_of(value.bytes().data()), -1) << spec.name;
    EXPECT_NE(pretended.binder->node_of(&value.bytes().back()), -1) << spec.name;
  });
}

TEST(NumaPlacementTest, MirroredNodesReadTheirOwnCopies) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  TransformerWeights weights = synthetic_weights(plain, config, DType::q4_0, 1);
  const Pretended pretended = place_on(kTwoNodes, "mirror", config, weights);
  const Tensor& head = weights.lm_head.weight;
  const Residence& residence = *pretended.placed.pool->residence();
  EXPECT_EQ(residence.nearest(head.data(), 0), head.data());
  const void* copy = residence.nearest(head.data(), 1);
  EXPECT_NE(copy, head.data());
  EXPECT_EQ(std::memcmp(copy, head.data(), head.byte_size()), 0);
  EXPECT_EQ(pretended.binder->node_of(head.data()), 0);
  EXPECT_EQ(pretended.binder->node_of(copy), 1);
}

TEST(NumaPlacementTest, OneNodeOfSeveralTakesCopiesOfAllAndEverythingElse) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  TransformerWeights weights = synthetic_weights(plain, config, DType::q4_0, 1);
  const void* before = weights.lm_head.weight.data();
  const Pretended pretended = place_on(kTwoNodes, "node:1", config, weights);
  EXPECT_NE(weights.lm_head.weight.data(), before);
  ASSERT_THAT(pretended.binder->areas(), SizeIs(1));
  EXPECT_EQ(pretended.binder->areas()[0].node, 1U);
  EXPECT_THAT(pretended.binder->spread(), ElementsAre(1));
  EXPECT_EQ(pretended.placed.pool->threads(), 2U);
}

TEST(NumaPlacementTest, AMachineOfOneNodeCopiesNothing) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  TransformerWeights weights = synthetic_weights(plain, config, DType::q4_0, 1);
  const void* before = weights.lm_head.weight.data();
  for (const char* policy : {"distribute", "mirror", "node:0"}) {
    const Pretended pretended = place_on("numa:1 core:3 pu:1", policy, config, weights);
    EXPECT_EQ(weights.lm_head.weight.data(), before);
    EXPECT_EQ(pretended.placed.pool->threads(), 3U);
    pretended.placed.pool->parallel_for(3, [](std::size_t) {});
    EXPECT_THAT(pretended.binder->threads(), SizeIs(3));
    EXPECT_THAT(pretended.binder->areas(), IsEmpty());
  }
}

TEST(NumaPlacementTest, OffMakesPlainThreads) {
  ModelConfig config = blocky_model();
  TransformerWeights weights;
  const PlacedModel placed = place_model({}, 2, config, weights, {});
  EXPECT_EQ(placed.pool->threads(), 2U);
  EXPECT_FALSE(placed.plan);
}

TEST(NumaPlacementTest, ThisMachineRunsWithBoundThreads) {
  ThreadPool plain(2);
  ModelConfig config = blocky_model();
  TransformerWeights weights = synthetic_weights(plain, config, DType::q4_0, 1);
  const std::vector<float> expected = logits_of(plain, config, weights);
  std::vector<float> got;
  std::thread([&] {  // callers are bound, too: not the thread of other tests
    const PlacedModel placed = place_model(*numa_choice_of("distribute"), 0, config, weights, {});
    got = logits_of(*placed.pool, config, weights);
  })
      .join();
  EXPECT_EQ(got, expected);
}

TEST(NumaPlacementTest, WhereMemoryCannotBeBoundThePlanSaysSo) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  TransformerWeights weights = synthetic_weights(plain, config, DType::q4_0, 1);
  const auto binder = std::make_shared<test::RecordingBinder>();
  binder->forbid_memory();
  const PlacedModel placed = place_model(described_topology(kTwoNodes), binder, *numa_choice_of("distribute"),
                                         0, config, weights, {});
  EXPECT_THAT(placed.plan->warnings, testing::Contains(HasSubstr("forbids")));
}

TEST(NumaPlacementTest, ExpertsThatAreReadFromDiskStayWhereTheyAre) {
  ThreadPool plain(1);
  ModelConfig config = blocky_model();
  TransformerWeights weights = synthetic_weights(plain, config, DType::q4_0, 1);
  const Tensor expert = weights.layers[1].moe.experts[0].up_proj.weight;
  NumaUse use;
  use.has_resident_experts = false;
  const PlacedModel placed =
      place_model(described_topology(kTwoNodes), std::make_shared<test::RecordingBinder>(),
                  *numa_choice_of("distribute"), 0, config, weights, use);
  EXPECT_EQ(weights.layers[1].moe.experts[0].up_proj.weight.data(), expert.data());
  EXPECT_THAT(placed.plan->warnings, testing::Contains(HasSubstr("read from disk")));
  EXPECT_EQ(placed.plan->nodes[0].weight_bytes[static_cast<std::size_t>(WeightPart::routed_experts)], 0U);
}

}  // namespace
}  // namespace fathom
