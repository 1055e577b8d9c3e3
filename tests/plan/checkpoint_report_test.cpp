#include "plan/checkpoint_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "model/save.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CheckpointReportTest : public testing::Test {
 protected:
  void save(DType dtype, std::uint64_t max_shard_bytes = 1 << 30) const {
    SaveOptions options;
    options.dtype = dtype;
    options.max_shard_bytes = max_shard_bytes;
    save_model(path(), config_, random_weights(config_, 1), options);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

  ModelConfig config_ = test::tiny_v3();

 private:
  test::TemporaryFolder folder_;
};

TEST_F(CheckpointReportTest, CountsOfAModelFolderAgreeWithItsConfig) {
  save(DType::bf16, 20'000);
  const CheckpointReport report = inspect_checkpoint(path());
  EXPECT_GT(report.files.size(), 2U);
  ASSERT_TRUE(report.match.has_value());
  EXPECT_TRUE(report.match->complete());
  EXPECT_EQ(report.totals.tensors, report.tensors.size());
  EXPECT_EQ(report.totals.elements, static_cast<std::uint64_t>(report.parameters->total));
  std::uint64_t bytes = 0;
  for (const auto& [dtype, totals] : report.by_dtype) bytes += totals.bytes;
  EXPECT_EQ(bytes, report.totals.bytes);
  EXPECT_EQ(report.by_dtype.at("F32").elements, 16U);  // the routers' biases of two layers with 8 experts
  const MemoryEstimate memory = estimate_memory(report);
  EXPECT_EQ(memory.weights, report.totals.bytes);
  EXPECT_EQ(memory.latent_cache.front(), std::pair(LatentType::f32, std::uint64_t{(16U + 8U) * 3U * 4U}));
}

TEST_F(CheckpointReportTest, TextPutsLayersAndExpertsOnOneLine) {
  save(DType::f8_e4m3);
  const std::string text = report_to_text(inspect_checkpoint(path()));
  EXPECT_THAT(text, AllOf(HasSubstr("model.layers.{1,2}.mlp.experts.{0..7}.up_proj.weight "),
                          HasSubstr("model.layers.{1,2}.mlp.experts.{0..7}.up_proj.weight_scale_inv "),
                          HasSubstr("deepseek_v3: 3 layers (1 dense), hidden 32"),
                          HasSubstr("8 routed, 3 a token by sigmoid, from 2 of 4 groups; 1 shared"),
                          HasSubstr("the weights are those that config.json describes")));
  EXPECT_THAT(text, Not(HasSubstr("experts.0.")));
  EXPECT_THAT(text, Not(HasSubstr(" \n")));  // no space at the end of a line
}

TEST_F(CheckpointReportTest, JsonHoldsEveryTensorAndTheCounts) {
  save(DType::f32);
  const OrderedJson json = report_to_json(inspect_checkpoint(path()));
  EXPECT_EQ(json["tensors"].size(), json["totals"]["tensors"]);
  EXPECT_EQ(json["parameters"]["total"], count_parameters(config_).total);
  EXPECT_EQ(json["config"]["hidden_size"], 32);
  EXPECT_EQ(json["match"]["complete"], true);
  EXPECT_EQ(json["tensors"][0]["name"], "lm_head.weight");
  EXPECT_EQ(json["tensors"][0]["shape"], OrderedJson({61, 32}));
  EXPECT_EQ(json["tensors"][0]["dtype"], "F32");
  EXPECT_EQ(json["tensors"][0]["file"], "model.safetensors");
  EXPECT_EQ(json["by_dtype"]["F32"]["bytes"], 4 * count_parameters(config_).total);
}

TEST_F(CheckpointReportTest, DifferencesBetweenWeightsAndConfigAreListed) {
  save(DType::f32);
  config_.num_hidden_layers = 2;  // layer 2 is surplus
  config_.vocab_size = 70;        // embedding and head are too small
  config_.q_lora_rank = 0;        // q_proj is missing, q_a and q_b are surplus
  write_file_atomically(path() / "config.json", model_config_to_json(config_).dump());
  const CheckpointReport report = inspect_checkpoint(path());
  ASSERT_TRUE(report.match.has_value());
  EXPECT_FALSE(report.match->complete());
  EXPECT_EQ(report.match->wrong_shape.size(), 2U);
  EXPECT_EQ(report.match->missing.size(), 2U);
  const std::string text = report_to_text(report);
  EXPECT_THAT(text, AllOf(HasSubstr("2 tensors that config.json needs missing:"),
                          HasSubstr("model.layers.0.self_attn.q_proj.weight [40, 32]"),
                          HasSubstr("lm_head.weight is [61, 32], needs [70, 32]"),
                          HasSubstr("without a place in the model:"), HasSubstr("and ")));
  const OrderedJson json = report_to_json(report);
  EXPECT_EQ(json["match"]["complete"], false);
  EXPECT_EQ(json["match"]["wrong_shape"][0]["needed"], OrderedJson({70, 32}));
}

TEST_F(CheckpointReportTest, WeightsAreShownBesideABrokenConfigOrNone) {
  save(DType::f32);
  std::ofstream(path() / "config.json") << R"({"model_type": "llama"})";
  CheckpointReport report = inspect_checkpoint(path());
  EXPECT_THAT(report.config_problem, HasSubstr("config.json"));
  EXPECT_THAT(report_to_text(report), AllOf(HasSubstr("config.json"), HasSubstr("lm_head.weight")));
  EXPECT_TRUE(report_to_json(report).contains("config_problem"));
  std::filesystem::remove(path() / "config.json");
  report = inspect_checkpoint(path());
  EXPECT_FALSE(report.config.has_value());
  EXPECT_TRUE(report.config_problem.empty());
  EXPECT_EQ(inspect_checkpoint(path() / "model.safetensors").tensors.size(), report.tensors.size());
}

TEST_F(CheckpointReportTest, PathsWithNothingToShowAreErrors) {
  EXPECT_THAT(error_of([&] { return inspect_checkpoint(path()); }),
              HasSubstr("holds no config.json, model.safetensors or model.safetensors.index.json"));
  EXPECT_THAT(error_of([&] { return inspect_checkpoint(path() / "none"); }),
              HasSubstr("/none: no such file or folder"));
  std::ofstream(path() / "text.txt") << "hello, this is no checkpoint";
  EXPECT_THAT(error_of([&] { return inspect_checkpoint(path() / "text.txt"); }),
              HasSubstr("/text.txt: a header of "));
  std::ofstream(path() / "other.json") << R"({"model_type": "llama"})";
  EXPECT_THAT(error_of([&] { return inspect_checkpoint(path() / "other.json"); }), HasSubstr("/other.json"));
}

TEST_F(CheckpointReportTest, AConfigAloneGivesThePublishedCountsAndCache) {
  FATHOM_SHARED_DATA_OR_SKIP(data);
  const CheckpointReport report = inspect_checkpoint(data / "configs" / "DeepSeek-V3.json");
  EXPECT_EQ(report.parameters->total, 671'026'419'200);
  EXPECT_TRUE(report.files.empty());
  const MemoryEstimate memory = estimate_memory(report);
  EXPECT_EQ(memory.weights, 2U * 671'026'419'200U);
  ASSERT_EQ(memory.latent_cache.size(), std::size(kernels::kLatentTypes));
  EXPECT_EQ(memory.latent_cache[2], std::pair(LatentType::bf16, std::uint64_t{70'272}));
  EXPECT_EQ(memory.latent_cache[3], std::pair(LatentType::f8_e4m3, std::uint64_t{61 * 656}));
  EXPECT_THAT(report_to_text(report), AllOf(HasSubstr("671,026,419,200"), HasSubstr("70.272 KB in bf16")));
}

}  // namespace
}  // namespace fathom
