#include "infer/pass_cost.h"

#include <gtest/gtest.h>

#include "model/synthetic_weights.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

struct Model {
  ThreadPool pool{1};
  ModelConfig config = test::tiny_v3();
  TransformerWeights weights = synthetic_weights(pool, config, DType::f32, 1);

  /// Tokens of each MoE layer, given to the first experts.
  [[nodiscard]] ExpertCounts counts(std::int64_t touched, std::int64_t tokens) const {
    ExpertCounts counts;
    for (const BlockWeights& block : weights.layers)
      if (!block.moe.experts.empty()) {
        counts.emplace_back(static_cast<std::size_t>(config.n_routed_experts));
        for (std::int64_t e = 0; e < touched; ++e) counts.back()[static_cast<std::size_t>(e)] = tokens;
      }
    return counts;
  }
};

TEST(PassCostTest, ADecodedTokenReadsTheActivatedParametersOnce) {
  const Model model;
  const PassCost cost =
      pass_cost(model.config, model.weights, model.counts(model.config.num_experts_per_tok, 1), 1, 1, 0,
                4.0 * static_cast<double>(model.config.latent_dim()));
  double norms = static_cast<double>(model.config.hidden_size);
  for (const BlockWeights& block : model.weights.layers) {
    norms += static_cast<double>(block.input_layernorm.size() + block.post_attention_layernorm.size() +
                                 block.self_attn.kv_a_layernorm.size());
    if (block.self_attn.q_a_layernorm.defined())
      norms += static_cast<double>(block.self_attn.q_a_layernorm.size());
    if (block.moe.e_score_correction_bias.defined())
      norms += static_cast<double>(block.moe.e_score_correction_bias.size());
  }
  const auto activated =
      static_cast<double>(count_parameters(model.config).activated_without_input_embedding);
  EXPECT_DOUBLE_EQ(cost.weight_bytes, 4 * (activated - norms));
  EXPECT_DOUBLE_EQ(cost.weight_operations, 2 * (activated - norms));
  EXPECT_DOUBLE_EQ(cost.experts_touched, static_cast<double>(model.config.num_experts_per_tok));
}

TEST(PassCostTest, ABatchReadsAnExpertOnceAndMultipliesItForEachToken) {
  const Model model;
  const PassCost one = pass_cost(model.config, model.weights, model.counts(2, 1), 1, 1, 0, 0);
  const PassCost many = pass_cost(model.config, model.weights, model.counts(2, 5), 5, 5, 0, 0);
  EXPECT_DOUBLE_EQ(many.weight_bytes, one.weight_bytes);
  EXPECT_DOUBLE_EQ(many.weight_operations, 5 * one.weight_operations);
}

TEST(PassCostTest, AttentionReadsEachSequencesCacheAndTakesTheCheaperForm) {
  const Model model;
  const auto layers = static_cast<double>(model.weights.layers.size());
  const PassCost cost = pass_cost(model.config, model.weights, {}, 3, 3, 100, 10.0);
  EXPECT_DOUBLE_EQ(cost.cache_bytes, layers * 3 * 101 * 10.0);
  const double latent = static_cast<double>(model.config.kv_lora_rank);
  const double rope = static_cast<double>(model.config.qk_rope_head_dim);
  const double heads = static_cast<double>(model.config.num_attention_heads);
  EXPECT_DOUBLE_EQ(cost.attention_operations, 2 * layers * heads * 3 * 101 * (2 * latent + rope));
}

}  // namespace
}  // namespace fathom
