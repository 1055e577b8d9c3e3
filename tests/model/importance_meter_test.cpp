#include "model/importance_meter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "support/tiny_model.h"

namespace fathom {
namespace {

constexpr std::int64_t kObservedTokens = 40;

std::vector<std::int32_t> mixed_tokens(const ModelConfig& config) {
  std::vector<std::int32_t> tokens(kObservedTokens);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i * i + 3) % config.vocab_size);
  return tokens;
}

class ImportanceMeterTest : public testing::Test {
 protected:
  const std::map<std::string, ImportanceMatrix::Entry, std::less<>>& measured() {
    meter_.read(Context{pool_}, tokens_);
    return meter_.matrix().entries();
  }

  ThreadPool pool_{2};
  ModelConfig config_ = test::tiny_v3();
  TransformerWeights weights_ = random_weights(config_, 1);
  std::vector<std::int32_t> tokens_ = mixed_tokens(config_);
  ImportanceMeter meter_{config_, weights_, kObservedTokens};
};

TEST_F(ImportanceMeterTest, EveryMapOfEveryLayerIsMeasuredForEveryToken) {
  const auto& entries = measured();
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    std::vector<std::string> maps = {"attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_kv_b", "attn_output"};
    const std::string ending = config_.is_moe_layer(layer) ? "_shexp" : "";
    for (const char* map : {"ffn_gate", "ffn_up", "ffn_down"}) maps.push_back(map + ending);
    for (const std::string& map : maps) {
      const std::string name = "blk." + std::to_string(layer) + "." + map + ".weight";
      ASSERT_TRUE(entries.contains(name)) << name;
      EXPECT_EQ(entries.at(name).tokens, std::vector<std::int64_t>{kObservedTokens}) << name;
    }
    if (!config_.is_moe_layer(layer)) continue;
    for (const char* map : {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}) {
      const auto& entry = entries.at("blk." + std::to_string(layer) + "." + map + ".weight");
      ASSERT_EQ(static_cast<std::int64_t>(entry.tokens.size()), config_.n_routed_experts);
      EXPECT_EQ(std::accumulate(entry.tokens.begin(), entry.tokens.end(), std::int64_t{0}),
                kObservedTokens * config_.num_experts_per_tok);
    }
  }
}

TEST_F(ImportanceMeterTest, SquaresAreThoseOfTheNormedEmbeddingAtTheFirstMap) {
  std::vector<double> expected(static_cast<std::size_t>(config_.hidden_size));
  for (const std::int32_t token : tokens_) {
    const float* row = weights_.embed_tokens.f32() + token * config_.hidden_size;
    double square = 0.0;
    for (std::int64_t i = 0; i < config_.hidden_size; ++i) square += static_cast<double>(row[i]) * row[i];
    const double inverse = 1.0 / (square / static_cast<double>(config_.hidden_size) + config_.rms_norm_eps);
    for (std::size_t i = 0; i < expected.size(); ++i)
      expected[i] += static_cast<double>(row[i]) * row[i] * inverse;  // the norm's weights are ones
  }
  const auto& entry = measured().at("blk.0.attn_q_a.weight");
  ASSERT_EQ(entry.square_sums.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(entry.square_sums[i], expected[i], 1e-4 * expected[i]) << i;  // f32 against f64
}

TEST_F(ImportanceMeterTest, SequencesAddUp) {
  measured();
  const auto& entry = measured().at("blk.1.attn_output.weight");
  EXPECT_EQ(entry.tokens, std::vector<std::int64_t>{2 * kObservedTokens});
  EXPECT_EQ(entry.columns, config_.num_attention_heads * config_.v_head_dim);
}

}  // namespace
}  // namespace fathom
