#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "model/gguf_load.h"
#include "model/gguf_save.h"
#include "model/save.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::HasSubstr;

/// What GGUF can hold of the tiny models.
std::vector<test::NamedConfig> gguf_models() {
  std::vector<test::NamedConfig> models;
  for (test::NamedConfig model : test::tiny_models()) {
    const ModelConfig& config = model.config;
    if (config.attention_bias || !config.rope_interleave || config.moe_layer_freq != 1) continue;
    if (config.rope_scaling) model.config.rope_scaling->mscale = config.rope_scaling->mscale_all_dim;
    models.push_back(model);
  }
  return models;
}

/// Every parameter as f32, by name; kv_b_proj joined.
std::map<std::string, std::vector<float>> gguf_values(const ModelConfig& config,
                                                      const TransformerWeights& weights) {
  TransformerWeights views = weights;
  std::map<std::string, std::vector<float>> values;
  visit_parameters(config, views, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const Tensor wide = to_f32(value);
    values[spec.name].assign(wide.values().begin(), wide.values().end());
  });
  return values;
}

class GgufModelTest : public testing::TestWithParam<test::NamedConfig> {
 protected:
  ThreadPool pool_{2};
  test::TemporaryFolder folder_;
};

TEST_P(GgufModelTest, ComesBackWithTheSameValuesInEitherLayout) {
  const ModelConfig& config = GetParam().config;
  const TransformerWeights weights = random_weights(config, 7);
  for (const bool split : {true, false}) {
    GgufSaveOptions options;
    options.dtype = DType::f32;
    options.split_kv_b = split;
    const auto paths = save_gguf(pool_, folder_.path() / "m.gguf", config, weights, nullptr, options);
    const LoadedModel read = load_gguf_model(GgufFile(paths.front()));
    EXPECT_EQ(gguf_values(read.config, read.weights), gguf_values(config, weights));
    EXPECT_EQ(read.weights.lm_head.weight.data() == read.weights.embed_tokens.data(),
              config.tie_word_embeddings);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, GgufModelTest, testing::ValuesIn(gguf_models()),
                         [](const auto& tested) { return tested.param.name; });

class GgufSaveTest : public testing::Test {
 protected:
  std::filesystem::path save(const ModelConfig& config, const TransformerWeights& weights, DType dtype,
                             bool split = true, std::uint64_t max_part_bytes = 0) {
    GgufSaveOptions options;
    options.dtype = dtype;
    options.split_kv_b = split;
    options.max_part_bytes = max_part_bytes;
    return save_gguf(pool_, folder_.path() / "m.gguf", config, weights, nullptr, options).front();
  }

  ThreadPool pool_{2};
  test::TemporaryFolder folder_;
  ModelConfig config_ = test::tiny_v3();
  TransformerWeights weights_ = random_weights(config_, 7);
};

TEST_F(GgufSaveTest, NormsRoutersAndBiasesStayF32) {
  const GgufFile file(save(config_, weights_, DType::bf16));
  EXPECT_EQ(file.get("blk.1.attn_norm.weight").dtype(), DType::f32);
  EXPECT_EQ(file.get("blk.1.ffn_gate_inp.weight").dtype(), DType::f32);
  EXPECT_EQ(file.get("blk.1.exp_probs_b.bias").dtype(), DType::f32);
  EXPECT_EQ(file.get("blk.1.ffn_gate_exps.weight", {8, 20, 32}).dtype(), DType::bf16);
  EXPECT_EQ(file.get("blk.0.attn_k_b.weight", {2, 16, 12}).dtype(), DType::bf16);
}

TEST_F(GgufSaveTest, PartsAreNoLargerThanAsked) {
  const std::filesystem::path first = save(config_, weights_, DType::f32, true, 20'000);
  const GgufFile file(first);
  EXPECT_GT(file.parts().size(), 2U);
  for (const GgufFile::Part& part : file.parts()) {
    std::uint64_t bytes = 0;
    for (const GgufTensor& tensor : part.tensors) bytes += tensor.bytes;
    EXPECT_LE(bytes, 20'480U);  // an expert tensor of 8 × 20 × 32 is the largest
  }
  EXPECT_EQ(gguf_values(config_, load_gguf_model(file).weights), gguf_values(config_, weights_));
}

TEST_F(GgufSaveTest, FoldersOfSafetensorsHoldTheSameValues) {
  const LoadedModel halved = load_gguf_model(GgufFile(save(config_, weights_, DType::f32)));
  save_model(folder_.path() / "folder", halved.config, halved.weights, {.dtype = DType::f32});
  EXPECT_EQ(gguf_values(config_, load_model(folder_.path() / "folder").weights),
            gguf_values(config_, weights_));
}

TEST_F(GgufSaveTest, HalvesAreKeptAsTheyAreStored) {
  const LoadedModel split = load_gguf_model(GgufFile(save(config_, weights_, DType::f16)));
  const LinearWeight& kv_b = split.weights.layers[1].self_attn.kv_b_proj;
  ASSERT_NE(kv_b.halves, nullptr);
  EXPECT_EQ(kv_b.halves->k_b.shape(), (Shape{2, 16, 12}));
  EXPECT_EQ(kv_b.halves->v_b.shape(), (Shape{2, config_.v_head_dim, 16}));
  const LoadedModel whole = load_gguf_model(GgufFile(save(config_, weights_, DType::f16, false)));
  EXPECT_EQ(whole.weights.layers[1].self_attn.kv_b_proj.halves, nullptr);
}

TEST_F(GgufSaveTest, ValuesTooLargeForTheTypeAreNamed) {
  weights_.layers[1].moe.experts[3].up_proj.weight.f32()[5] = 1e6F;
  EXPECT_THAT(
      error_of([&] { save(config_, weights_, DType::f16); }),
      HasSubstr("tensor model.layers.1.mlp.experts.3.up_proj.weight holds a value too large for F16"));
}

/// A GGUF file with some tensors changed.
class GgufLoadTest : public GgufSaveTest {
 protected:
  std::string error_without(const std::string& left_out, const std::string& added = {}) {
    const GgufFile whole(save(config_, weights_, DType::f32));
    std::vector<StoredTensor> layout;
    for (const GgufTensor& tensor : whole.parts().front().tensors)
      if (tensor.name != left_out) layout.push_back({tensor.name, tensor.shape, DType::f32});
    if (!added.empty()) layout.push_back({added, {4}, DType::f32});
    GgufWriter writer(folder_.path() / "changed.gguf", whole.metadata(), layout);
    for (const StoredTensor& tensor : layout)
      writer.write(tensor.name, tensor.name == added ? Tensor::zeros({4}) : whole.get(tensor.name));
    writer.commit();
    return error_of([&] { read_ = load_gguf_model(GgufFile(folder_.path() / "changed.gguf")); });
  }
  LoadedModel read_;
};

TEST_F(GgufLoadTest, MissingAndSurplusTensorsAreNamed) {
  EXPECT_THAT(error_without("blk.2.ffn_up_exps.weight"),
              HasSubstr("changed.gguf: has no tensor blk.2.ffn_up_exps"));
  EXPECT_THAT(error_without("blk.0.attn_k_b.weight"), HasSubstr("has no tensor blk.0.attn_k_b.weight"));
  EXPECT_THAT(error_without("token_embd.weight"), HasSubstr("has no matrix token_embd.weight"));
  EXPECT_THAT(error_without("", "blk.0.attn_q_a.bias"),
              HasSubstr("tensor blk.0.attn_q_a.bias has no place in the model"));
}

TEST_F(GgufLoadTest, WhatNeedNotBeThereIsMadeUp) {
  EXPECT_EQ(error_without("blk.1.exp_probs_b.bias"), "no error");
  EXPECT_EQ(read_.weights.layers[1].moe.e_score_correction_bias.f32()[0], 0.0F);
  EXPECT_EQ(error_without("output.weight"), "no error");
  EXPECT_TRUE(read_.config.tie_word_embeddings);
  EXPECT_EQ(error_without("", "rope_freqs.weight"), "no error");
}

TEST_F(GgufLoadTest, AnnouncedModulesWithoutWeightsAreLeftOut) {
  config_.num_nextn_predict_layers = 1;
  weights_ = random_weights(config_, 7);
  const GgufFile whole(save(config_, weights_, DType::f32));
  EXPECT_EQ(load_gguf_model(whole).weights.mtp.size(), 1U);
  std::vector<StoredTensor> layout;
  for (const GgufTensor& tensor : whole.parts().front().tensors)
    if (!tensor.name.starts_with("blk.3.")) layout.push_back({tensor.name, tensor.shape, DType::f32});
  GgufWriter writer(folder_.path() / "trunk.gguf", whole.metadata(), layout);
  for (const StoredTensor& tensor : layout) writer.write(tensor.name, whole.get(tensor.name));
  writer.commit();
  EXPECT_EQ(load_gguf_model(GgufFile(folder_.path() / "trunk.gguf")).config.num_nextn_predict_layers, 0);
}

}  // namespace
}  // namespace fathom
