#include "plan/training_cost.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/weights.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

// DESIGN.md, section 6: the published 250 and 155 G.
TEST(TrainingCostTest, FlopsPerTokenAreThePublishedOnes) {
  // The defaults of transformers' DeepseekV3Config are DeepSeek-V3's own sizes.
  const ModelConfig v3 = model_config_from_json(Json{{"model_type", "deepseek_v3"}}, "DeepSeek-V3");
  EXPECT_NEAR(training_flops_per_token(v3, 4096).main / 1e9, 250.45, 0.005);
  const TrainedParameters parameters = trained_parameters(v3);
  EXPECT_EQ(parameters.main, 671'026'419'200);
  EXPECT_EQ(parameters.activated, 37'552'297'472);
  EXPECT_EQ(parameters.mtp, v3.num_nextn_predict_layers * 11'610'068'224);
}

TEST(TrainingCostTest, AnMtpModuleCostsItsLayerAndTheHeadAgain) {
  ModelConfig with = test::tiny_v3();
  with.num_nextn_predict_layers = 1;
  ModelConfig without = with;
  without.num_nextn_predict_layers = 0;
  EXPECT_EQ(training_flops_per_token(without, 16).mtp, 0);
  EXPECT_EQ(training_flops_per_token(with, 16).main, training_flops_per_token(without, 16).main);
  EXPECT_GT(training_flops_per_token(with, 16).mtp,
            6.0 * static_cast<double>(with.vocab_size * with.hidden_size));
}

TEST(TrainingCostTest, MemoryFollowsItsSizes) {
  const ModelConfig config = test::tiny_v3();
  const auto parameters = static_cast<std::uint64_t>(trained_parameters(config).total());
  const TrainingMemory one = training_memory(config, {.sequence_length = 64, .micro_batch = 1});
  const TrainingMemory four = training_memory(config, {.sequence_length = 64, .micro_batch = 4});
  EXPECT_EQ(one.weights, 4 * parameters);
  EXPECT_EQ(one.moments, 8 * parameters);
  EXPECT_EQ(one.snapshot, 12 * parameters);
  EXPECT_GT(four.activations, 2 * one.activations);
  EXPECT_EQ(four.weights, one.weights);
  EXPECT_EQ(one.peak(),
            one.weights + one.gradients + one.moments + one.activations + one.work_space + one.snapshot);
}

TEST(TrainingCostTest, NarrowerPrecisionsKeepLess) {
  ModelConfig config = model_config_from_json(Json{{"model_type", "deepseek_v3"}}, "DeepSeek-V3");
  config.num_hidden_layers = 5;
  const auto parameters = static_cast<std::uint64_t>(trained_parameters(config).total());
  const auto memory = [&](Precision precision) {
    return training_memory(
        config, {.sequence_length = 4096, .micro_batch = 4, .precision = precision, .saves_beside = false});
  };
  const TrainingMemory f32 = memory(Precision::f32);
  const TrainingMemory bf16 = memory(Precision::bf16);
  const TrainingMemory fp8 = memory(Precision::fp8);
  const auto head = static_cast<double>(4 * config.vocab_size * config.hidden_size);  // f32 in each
  const auto kept = [&](const TrainingMemory& m) { return static_cast<double>(m.activations) - head; };
  EXPECT_EQ(bf16.moments, 4 * parameters);
  EXPECT_EQ(fp8.weights, 5 * parameters) << "with their codes";
  EXPECT_LT(kept(bf16), 0.65 * kept(f32));
  EXPECT_LT(kept(fp8), 0.85 * kept(bf16));
  EXPECT_EQ(f32.snapshot, 0U);
}

TEST(TrainingCostTest, AnAverageCostsAModelAndMuonSavesMomentsOfMatrices) {
  const ModelConfig config = test::tiny_v3();
  std::uint64_t matrices = 0;
  for (const ParameterSpec& spec : parameter_specs(config))
    if (spec.kind == ParameterKind::linear || spec.kind == ParameterKind::expert)
      matrices += static_cast<std::uint64_t>(element_count(spec.shape));
  const TrainingMemory plain = training_memory(config, {.sequence_length = 64, .micro_batch = 1});
  const TrainingMemory both = training_memory(
      config, {.sequence_length = 64, .micro_batch = 1, .has_average = true, .has_muon = true});
  EXPECT_EQ(both.moments, plain.moments - 4 * matrices);
  EXPECT_EQ(both.average, plain.weights);
  EXPECT_EQ(both.snapshot, plain.snapshot - 4 * matrices + plain.weights);
  EXPECT_EQ(both.peak() - both.snapshot, plain.peak() - plain.snapshot - 4 * matrices + plain.weights);
}

TEST(TrainingCostTest, ACheckpointHoldsTheExactWeightsBesideNarrowOnes) {
  const ModelConfig config = test::tiny_v3();
  const auto parameters = static_cast<std::uint64_t>(trained_parameters(config).total());
  EXPECT_EQ(checkpoint_bytes(config, 4, {}), 12 * parameters);
  EXPECT_EQ(checkpoint_bytes(config, 2, {}), 14 * parameters);
  EXPECT_EQ(checkpoint_bytes(config, 2, {.precision = Precision::bf16}), 10 * parameters);
  EXPECT_EQ(checkpoint_bytes(config, 2, {.has_average = true}), 20 * parameters);
}

}  // namespace
}  // namespace fathom
