#include "plan/model_units.h"

#include <gtest/gtest.h>

#include "plan/training_cost.h"
#include "support/planned_training.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

TEST(ModelUnitsTest, PiecesAddUpToTheModel) {
  for (const char* model : {"deepseek-v3", "deepseek-v2-lite", "kimi-k2"}) {
    const ModelConfig config = test::planned_task(model).model;
    double flops = 0;
    std::int64_t parameters = 0;
    for (const ModelUnit& unit : model_units(config, 4096, Precision::fp8)) {
      flops += unit.linear_flops + unit.attention_flops;
      parameters += unit.dense_parameters() + unit.expert_parameters;
    }
    EXPECT_NEAR(3 * flops, training_flops_per_token(config, 4096).total(), 1e-9 * flops) << model;
    EXPECT_EQ(parameters, trained_parameters(config).total()) << model;
  }
}

// The maps to latents and the norms are whole on every tensor-parallel rank; latents are gathered, not hidden
// states, so that attention's collectives have 2,112 + 7,168 values, the shared expert's twice 7,168.
TEST(ModelUnitsTest, TensorParallelismCutsHeadsAndColumnsAndLeavesLatentsWhole) {
  const ModelConfig v3 = test::planned_task("deepseek-v3").model;
  const auto units = model_units(v3, 4096, Precision::fp8);
  const ModelUnit& block = units[10];
  ASSERT_TRUE(block.is_moe);
  EXPECT_EQ(block.unsplit_linear_parameters, 7168 * (1536 + 512 + 64));
  EXPECT_EQ(block.unsplit_other_parameters, block.other_parameters);
  EXPECT_EQ(block.linear_on(1), static_cast<double>(block.linear_parameters));
  EXPECT_EQ(2 * block.linear_on(2) - block.linear_on(1),
            static_cast<double>(block.unsplit_linear_parameters));
  EXPECT_EQ(block.gathered_values, (1536 + 512 + 64 + 7168) + 2 * 7168);
  EXPECT_EQ(block.gatherings, 4);
  EXPECT_EQ(block.expanded_flops, 2.0 * 512 * 128 * (128 + 128));
  EXPECT_EQ(units.front().unsplit_parameters(), 0) << "the embedding is cut by words";
}

TEST(ModelUnitsTest, EmbeddingComesFirstAndHeadLast) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  const auto units = model_units(config, 16, Precision::f32);
  ASSERT_EQ(units.size(), static_cast<std::size_t>(config.num_hidden_layers) + 3);
  EXPECT_EQ(units.front().linear_flops, 0);
  EXPECT_EQ(units.front().other_parameters, config.vocab_size * config.hidden_size);
  EXPECT_FALSE(units.back().is_block);
  // Once for the model and once for the module.
  EXPECT_EQ(units.back().linear_flops, 4.0 * static_cast<double>(config.vocab_size * config.hidden_size));
  EXPECT_TRUE(units[units.size() - 2].is_block);
}

}  // namespace
}  // namespace fathom
