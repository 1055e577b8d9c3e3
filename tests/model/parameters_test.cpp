#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "model/weights.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

ModelConfig deepseek_v3() {
  ModelConfig c;
  c.vocab_size = 129280;
  c.hidden_size = 7168;
  c.intermediate_size = 18432;
  c.moe_intermediate_size = 2048;
  c.num_hidden_layers = 61;
  c.num_attention_heads = 128;
  c.q_lora_rank = 1536;
  c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128;
  c.qk_rope_head_dim = 64;
  c.v_head_dim = 128;
  c.first_k_dense_replace = 3;
  c.n_routed_experts = 256;
  c.n_shared_experts = 1;
  c.num_experts_per_tok = 8;
  c.num_nextn_predict_layers = 1;
  return c;
}

ModelConfig deepseek_v2() {
  ModelConfig c = deepseek_v3();
  c.family = ModelFamily::deepseek_v2;
  c.topk_method = TopkMethod::group_limited_greedy;
  c.vocab_size = 102400;
  c.hidden_size = 5120;
  c.intermediate_size = 12288;
  c.moe_intermediate_size = 1536;
  c.num_hidden_layers = 60;
  c.first_k_dense_replace = 1;
  c.n_routed_experts = 160;
  c.n_shared_experts = 2;
  c.num_experts_per_tok = 6;
  c.num_nextn_predict_layers = 0;
  return c;
}

ModelConfig deepseek_v2_lite() {
  ModelConfig c = deepseek_v2();
  c.topk_method = TopkMethod::greedy;
  c.hidden_size = 2048;
  c.intermediate_size = 10944;
  c.moe_intermediate_size = 1408;
  c.num_hidden_layers = 27;
  c.num_attention_heads = 16;
  c.q_lora_rank = 0;
  c.n_routed_experts = 64;
  return c;
}

ModelConfig moonlight() {
  ModelConfig c = deepseek_v2_lite();
  c.family = ModelFamily::deepseek_v3;
  c.topk_method = TopkMethod::noaux_tc;
  c.vocab_size = 163840;
  c.intermediate_size = 11264;
  return c;
}

ModelConfig kimi_k2() {
  ModelConfig c = deepseek_v3();
  c.vocab_size = 163840;
  c.num_attention_heads = 64;
  c.first_k_dense_replace = 1;
  c.n_routed_experts = 384;
  c.num_nextn_predict_layers = 0;
  return c;
}

struct Published {
  const char* name;
  ModelConfig (*config)();
  std::int64_t total, activated, without_input_embedding, mtp_module;
};
std::ostream& operator<<(std::ostream& out, const Published& published) {
  return out << published.name;
}

class PublishedCountsTest : public testing::TestWithParam<Published> {};

TEST_P(PublishedCountsTest, MatchToTheLastParameter) {
  const Published& published = GetParam();
  const ParameterCounts counts = count_parameters(published.config());
  EXPECT_EQ(counts.total, published.total);
  EXPECT_EQ(counts.activated, published.activated);
  EXPECT_EQ(counts.activated_without_input_embedding, published.without_input_embedding);
  EXPECT_EQ(counts.mtp_module, published.mtp_module);
}

INSTANTIATE_TEST_SUITE_P(
    Models, PublishedCountsTest,
    testing::Values(Published{"DeepSeekV3", deepseek_v3, 671026419200, 37552297472, 36625618432, 11610068224},
                    Published{"DeepSeekV2", deepseek_v2, 235741434880, 21375800320, 20851512320, 0},
                    Published{"DeepSeekV2Lite", deepseek_v2_lite, 15706484224, 2661150208, 2451435008, 0},
                    Published{"Moonlight", moonlight, 15960110208, 2914776192, 2579231872, 0},
                    Published{"KimiK2", kimi_k2, 1026408232448, 32861500928, 31687095808, 0}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(ParametersTest, NamesAreThoseOfReleasedCheckpoints) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  std::vector<std::string> names;
  for (const ParameterSpec& spec : parameter_specs(config)) names.push_back(spec.name);
  EXPECT_EQ(names.front(), "model.embed_tokens.weight");
  for (const char* name :
       {"model.layers.0.mlp.gate_proj.weight", "model.layers.1.self_attn.kv_a_proj_with_mqa.weight",
        "model.layers.1.self_attn.q_a_layernorm.weight", "model.layers.1.mlp.gate.weight",
        "model.layers.1.mlp.gate.e_score_correction_bias", "model.layers.2.mlp.experts.7.down_proj.weight",
        "model.layers.2.mlp.shared_experts.up_proj.weight", "model.norm.weight", "lm_head.weight",
        "model.layers.3.enorm.weight", "model.layers.3.hnorm.weight", "model.layers.3.eh_proj.weight",
        "model.layers.3.self_attn.o_proj.weight", "model.layers.3.shared_head.norm.weight"})
    EXPECT_TRUE(std::ranges::find(names, name) != names.end()) << name;
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

class TinyModelsTest : public testing::TestWithParam<test::NamedConfig> {};

TEST_P(TinyModelsTest, AreValidAndCountTheirParameters) {
  const ModelConfig& config = GetParam().config;
  EXPECT_NO_THROW(validate_model_config(config, "tiny"));
  std::int64_t total = 0;
  for (const ParameterSpec& spec : parameter_specs(config)) total += element_count(spec.shape);
  const ParameterCounts counts = count_parameters(config);
  EXPECT_EQ(counts.total + counts.mtp_module * config.num_nextn_predict_layers, total);
}

TEST_P(TinyModelsTest, RandomWeightsFillEveryParameterAsItsKindAsks) {
  const ModelConfig& config = GetParam().config;
  TransformerWeights weights = random_weights(config, 7);
  visit_parameters(config, weights, [](const ParameterSpec& spec, Tensor& value, Tensor*) {
    ASSERT_TRUE(value.defined()) << spec.name;
    EXPECT_EQ(value.shape(), spec.shape) << spec.name;
    const auto [low, high] = std::ranges::minmax(value.values());
    if (spec.kind == ParameterKind::norm) {
      EXPECT_EQ(low, 1.0F) << spec.name;
      EXPECT_EQ(high, 1.0F) << spec.name;
    } else if (spec.kind == ParameterKind::bias || spec.kind == ParameterKind::router_bias) {
      EXPECT_EQ(low, 0.0F) << spec.name;
      EXPECT_EQ(high, 0.0F) << spec.name;
    } else {
      EXPECT_LT(low, 0.0F) << spec.name;
      EXPECT_GT(high, 0.0F) << spec.name;
    }
  });
  EXPECT_EQ(weights.lm_head.weight.data() == weights.embed_tokens.data(), config.tie_word_embeddings);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TinyModelsTest, testing::ValuesIn(test::tiny_models()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(WeightsTest, LieInOneArenaAtAlignedPlaces) {
  const ModelConfig config = test::tiny_v3();
  Tensor arena;
  TransformerWeights weights = zero_weights(config, &arena);
  const float* next = arena.f32();
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    EXPECT_EQ(value.f32(), next) << spec.name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(value.data()) % 64, 0U) << spec.name;
    next += (value.size() + 15) / 16 * 16;
  });
  EXPECT_EQ(next, arena.f32() + arena.size());
  EXPECT_TRUE(std::ranges::all_of(arena.values(), [](float x) { return x == 0.0F; }));
}

TEST(WeightsTest, SeedDecidesRandomWeightsAndParametersDiffer) {
  const ModelConfig config = test::tiny_v3();
  const TransformerWeights a = random_weights(config, 1);
  const TransformerWeights b = random_weights(config, 1);
  const TransformerWeights c = random_weights(config, 2);
  EXPECT_TRUE(std::ranges::equal(a.embed_tokens.values(), b.embed_tokens.values()));
  EXPECT_FALSE(std::ranges::equal(a.embed_tokens.values(), c.embed_tokens.values()));
  EXPECT_FALSE(std::ranges::equal(a.embed_tokens.values(), a.lm_head.weight.values()));
}

TEST(WeightsTest, RandomWeightsDoNotDependOnThreads) {
  ModelConfig config = test::tiny_v3();
  config.vocab_size = 5001;  // several pieces of work, and no whole number of blocks
  config.hidden_size = 31;
  ThreadPool pool(3);
  const TransformerWeights alone = random_weights(config, 5);
  const TransformerWeights shared = random_weights(config, 5, &pool);
  EXPECT_TRUE(std::ranges::equal(alone.embed_tokens.values(), shared.embed_tokens.values()));
  EXPECT_TRUE(std::ranges::equal(alone.lm_head.weight.values(), shared.lm_head.weight.values()));
}

TEST(WeightsTest, RandomMatricesHaveTheConfiguredSpread) {
  ModelConfig config = test::tiny_v3();
  config.vocab_size = 2000;
  config.initializer_range = 0.006;
  const TransformerWeights weights = random_weights(config, 3);
  const auto n = static_cast<double>(weights.embed_tokens.size());  // 64,000
  double sum = 0;
  double squares = 0;
  double neighbours = 0;
  std::array<double, 3> beyond{};  // how many lie beyond 1, 2, 3 deviations
  float previous = 0;
  for (const float x : weights.embed_tokens.values()) {
    const double z = x / 0.006;
    sum += z;
    squares += z * z;
    neighbours += z * std::exchange(previous, static_cast<float>(z));
    for (std::size_t k = 0; k < beyond.size(); ++k)
      if (std::abs(z) > static_cast<double>(k + 1)) ++beyond[k];
  }
  const double error = 1 / std::sqrt(n);  // each bound is four standard errors
  EXPECT_NEAR(sum / n, 0, 4 * error);
  EXPECT_NEAR(squares / n, 1, 4 * error * std::sqrt(2.0));
  EXPECT_NEAR(neighbours / n, 0, 4 * error);
  for (std::size_t k = 0; k < beyond.size(); ++k) {
    const double share = std::erfc(static_cast<double>(k + 1) / std::sqrt(2.0));
    EXPECT_NEAR(beyond[k] / n, share, 4 * error * std::sqrt(share * (1 - share))) << k + 1;
  }
}

}  // namespace
}  // namespace fathom
