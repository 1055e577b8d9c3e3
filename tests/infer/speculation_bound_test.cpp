#include "infer/speculation_bound.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/thread_pool.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

TEST(SpeculationBoundTest, WeighsTokensAgainstAllThatIsRead) {
  const StepReads steps{{4, 6, 8}, {100, 120, 130}};
  const DraftReads drafts{10, 1};
  // One draft: 1.8 tokens for a step over 2 tokens, and a pass of the module over the 1.8 of the step before.
  const std::vector<double> one = {0.8};
  const SpeculationBound of_one = speculation_bound(one, steps, drafts);
  EXPECT_DOUBLE_EQ(of_one.speedup, 1.8 * 100 / (120 + 10 + 5.6));
  EXPECT_EQ(of_one.drafts, 1);
  // A second one adds half a token, 10 of weights and the module's shared part with the experts of one token.
  const std::vector<double> two = {0.8, 0.5};
  const SpeculationBound of_two = speculation_bound(two, steps, drafts);
  EXPECT_DOUBLE_EQ(of_two.speedup, 2.3 * 100 / (130 + 20 + 6.6 + 4));
  EXPECT_EQ(of_two.drafts, 2);
}

TEST(SpeculationBoundTest, WhereNoDraftsPayNoneAreTheBest) {
  const StepReads steps{{4, 7}, {100, 140}};
  const SpeculationBound bound = speculation_bound(std::vector<double>{0.3}, steps, {10, 1});
  EXPECT_EQ(bound.speedup, 1.0);
  EXPECT_EQ(bound.drafts, 0);
}

TEST(StepReadsTest, AreOfTheExpertsThatTokensAreSentTo) {
  const ModelConfig config = test::tiny_v3();
  const TransformerWeights weights = random_weights(config, 3);
  const Transformer model(config, weights, 64);
  ThreadPool pool(1);
  const Context context{pool};
  std::vector<std::vector<std::int32_t>> texts(2);
  for (std::int32_t i = 0; i < 40; ++i) {
    texts[0].push_back(i);
    texts[1].push_back(50 - i);
  }
  const StepReads one = measure_step_reads(context, model, weights, {texts.data(), 1}, 8, 4);
  ASSERT_EQ(one.experts.size(), 4U);
  EXPECT_DOUBLE_EQ(one.experts[0], static_cast<double>(config.num_experts_per_tok));
  const double expert = 3.0 * 4.0 * static_cast<double>(config.hidden_size * config.moe_intermediate_size) *
                        2;  // in two layers
  for (std::size_t n = 1; n < one.experts.size(); ++n) {
    EXPECT_GE(one.experts[n], one.experts[n - 1]);
    EXPECT_NEAR(one.weight_bytes[n] - one.weight_bytes[0], expert * (one.experts[n] - one.experts[0]), 1.0);
  }
  const StepReads both = measure_step_reads(context, model, weights, texts, 8, 4);
  EXPECT_GT(both.experts[0], one.experts[0]);
  EXPECT_LE(both.experts[3], static_cast<double>(config.n_routed_experts));
}

TEST(DraftReadsTest, AreTheModulesMatricesAndTheHead) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  const DraftReads reads = mtp_draft_reads(random_weights(config, 3));
  const std::int64_t norms_and_bias =
      5 * config.hidden_size + config.q_lora_rank + config.kv_lora_rank + config.n_routed_experts;
  const std::int64_t head = config.vocab_size * config.hidden_size;
  EXPECT_DOUBLE_EQ(reads.shared + reads.expert * static_cast<double>(config.n_routed_experts),
                   4.0 * static_cast<double>(count_parameters(config).mtp_module - norms_and_bias + head));
}

}  // namespace
}  // namespace fathom
