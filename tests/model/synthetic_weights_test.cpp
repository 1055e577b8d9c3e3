#include "model/synthetic_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/transformer.h"
#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

/// Rows of 64 and 96 values hold whole blocks of 32, not of 256.
ModelConfig config_to_make_up() {
  ModelConfig config = test::tiny_v3();
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.moe_intermediate_size = 32;
  config.q_lora_rank = 32;
  config.kv_lora_rank = 32;
  config.v_head_dim = 16;
  config.num_attention_heads = 4;
  config.num_nextn_predict_layers = 1;
  return config;
}

TEST(SyntheticWeightsTest, MatricesAreOfTheTypeAndTheRestIsF32) {
  ThreadPool pool(2);
  const ModelConfig config = config_to_make_up();
  const TransformerWeights weights = synthetic_weights(pool, config, DType::q4_0, 1);
  EXPECT_EQ(weights.mtp.front().eh_proj.weight.dtype(), DType::q4_0);
  EXPECT_EQ(weights.embed_tokens.dtype(), DType::q4_0);
  EXPECT_EQ(weights.layers.back().moe.experts[0].up_proj.weight.dtype(), DType::q4_0);
  EXPECT_EQ(weights.layers.back().moe.router.dtype(), DType::f32);
  EXPECT_EQ(weights.norm.values()[0], 1.0F);
}

TEST(SyntheticWeightsTest, RowsThatDoNotFillBlocksAreQ8) {
  ThreadPool pool(1);
  const ModelConfig config = config_to_make_up();
  const TransformerWeights weights = synthetic_weights(pool, config, DType::q4_k, 1);
  EXPECT_EQ(weights.layers[0].mlp.down_proj.weight.dtype(), DType::q8_0);
}

TEST(SyntheticWeightsTest, AModelOfThemGivesNumbers) {
  ThreadPool pool(2);
  const ModelConfig config = config_to_make_up();
  for (const DType type : {DType::q4_0, DType::q8_0, DType::bf16, DType::f32}) {
    const TransformerWeights weights = synthetic_weights(pool, config, type, 3);
    const Transformer model(config, weights, 8);
    const Context context{pool};
    LatentCache cache(config, 8);
    const std::int32_t tokens[] = {1, 2, 3};
    const Tensor logits = model.head(context, model.forward_cached(context, tokens, cache));
    for (const float logit : logits.values()) ASSERT_TRUE(std::isfinite(logit)) << dtype_name(type);
  }
}

TEST(SyntheticWeightsTest, TypesThatCannotBeMadeUpAreRefused) {
  ThreadPool pool(1);
  const ModelConfig config = config_to_make_up();
  EXPECT_THAT(test::error_of([&] { synthetic_weights(pool, config, DType::i32, 1); }),
              testing::HasSubstr("no weights of I32 are made up"));
}

}  // namespace
}  // namespace fathom
