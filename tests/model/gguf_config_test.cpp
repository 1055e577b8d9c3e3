#include "model/gguf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::HasSubstr;

/// A config after a journey through GGUF metadata.
ModelConfig through_gguf(const ModelConfig& config, bool split_kv_b = true) {
  return gguf_model_config(gguf_config_metadata(config, split_kv_b),
                           {config.vocab_size, !config.tie_word_embeddings, false}, "FILE");
}

/// What a model computes, without keys of training and storage, and without special tokens, which go with a
/// tokenizer.
OrderedJson computed(ModelConfig config) {
  config.initializer_range = 0.02;
  config.aux_loss_alpha.reset();
  config.seq_aux.reset();
  config.fp8.reset();
  config.bos_token_id = -1;
  config.eos_token_ids.clear();
  return model_config_to_json(config);
}

GgufMetadata metadata_of(const ModelConfig& config) {
  return gguf_config_metadata(config, true);
}

std::string error_of_metadata(const GgufMetadata& metadata) {
  return error_of([&] { gguf_model_config(metadata, {61, true, true}, "FILE"); });
}

TEST(GgufConfigTest, ReleasedModelsComeBackAsTheyWere) {
  FATHOM_SHARED_DATA_OR_SKIP(data);
  for (const char* name :
       {"DeepSeek-V2", "DeepSeek-V2-Lite", "DeepSeek-V3", "DeepSeek-V3.1", "Kimi-K2", "Moonlight-16B-A3B"}) {
    const ModelConfig config = load_model_config(data / "configs" / (std::string(name) + ".json"));
    for (const bool split : {true, false})
      EXPECT_EQ(computed(through_gguf(config, split)), computed(config)) << name;
  }
}

TEST(GgufConfigTest, HeadsOfBothLayoutsAreTheSame) {
  const ModelConfig config = test::tiny_v3();
  const GgufMetadata split = gguf_config_metadata(config, true);
  EXPECT_EQ(*split.find("deepseek2.attention.key_length"), GgufValue(std::uint32_t{24}));  // latent + rope
  EXPECT_EQ(*split.find("deepseek2.attention.key_length_mla"), GgufValue(std::uint32_t{20}));
  EXPECT_EQ(*split.find("deepseek2.attention.head_count_kv"), GgufValue(std::uint32_t{1}));
  const GgufMetadata whole = gguf_config_metadata(config, false);
  EXPECT_EQ(*whole.find("deepseek2.attention.key_length"), GgufValue(std::uint32_t{20}));
  EXPECT_EQ(whole.find("deepseek2.attention.key_length_mla"), nullptr);
}

TEST(GgufConfigTest, OldFilesOfReleasedModelsHaveTheirGroupsOfExperts) {
  FATHOM_SHARED_DATA_OR_SKIP(data);
  for (const char* name : {"DeepSeek-V2", "DeepSeek-V3"}) {
    const ModelConfig config = load_model_config(data / "configs" / (std::string(name) + ".json"));
    GgufMetadata metadata = metadata_of(config);
    metadata.remove("deepseek2.expert_group_count");
    metadata.remove("deepseek2.expert_group_used_count");
    const ModelConfig read = gguf_model_config(metadata, {config.vocab_size, true, false}, "FILE");
    EXPECT_EQ(read.n_group, config.n_group);
    EXPECT_EQ(read.topk_group, config.topk_group);
    EXPECT_EQ(read.topk_method, config.topk_method);
  }
}

TEST(GgufConfigTest, RoutingThatIsNotNamedIsSigmoidWhereRoutersHaveBiases) {
  GgufMetadata metadata = metadata_of(test::tiny_v3());
  metadata.remove("deepseek2.expert_gating_func");
  EXPECT_EQ(gguf_model_config(metadata, {61, true, true}, "FILE").scoring_func, ScoringFunc::sigmoid);
  metadata = metadata_of(test::tiny_v2());
  metadata.remove("deepseek2.expert_gating_func");
  EXPECT_EQ(gguf_model_config(metadata, {61, true, false}, "FILE").scoring_func, ScoringFunc::softmax);
}

TEST(GgufConfigTest, WrongMetadataAreNamed) {
  const GgufMetadata whole = metadata_of(test::tiny_v3());
  const auto error_with = [&](std::string_view key, GgufValue value) {
    GgufMetadata metadata = whole;
    metadata.set(key, std::move(value));
    return error_of_metadata(metadata);
  };
  EXPECT_EQ(error_of_metadata(whole), "no error");
  EXPECT_THAT(error_with("general.architecture", std::string("llama")),
              HasSubstr("FILE: general.architecture is \"llama\", expected \"deepseek2\""));
  EXPECT_THAT(error_with("deepseek2.block_count", std::string("3")),
              HasSubstr("FILE: deepseek2.block_count is \"3\", expected an integer"));
  EXPECT_THAT(error_with("deepseek2.block_count", std::uint32_t{0}), HasSubstr("num_hidden_layers is 0"));
  EXPECT_THAT(error_with("deepseek2.expert_gating_func", std::uint32_t{3}),
              HasSubstr("expected 1 (softmax) or 2"));
  EXPECT_THAT(error_with("deepseek2.rope.scaling.type", std::string("linear")),
              HasSubstr("rope.scaling.type is \"linear\", expected \"yarn\" or \"none\""));
  EXPECT_THAT(error_with("deepseek2.attention.key_length_mla", std::uint32_t{8}),
              HasSubstr("expected more than rope.dimension_count"));
  EXPECT_THAT(error_with("deepseek2.embedding_length", std::uint64_t{1} << 60), HasSubstr("hidden_size"));
  GgufMetadata missing = whole;
  missing.remove("deepseek2.context_length");
  EXPECT_THAT(error_of_metadata(missing),
              HasSubstr("deepseek2.context_length is absent, expected an integer"));
}

TEST(GgufConfigTest, WhatTheFormatCannotSayIsNamed) {
  const auto error_with = [](auto change) {
    ModelConfig config = test::tiny_v3();
    change(config);
    return error_of([&] { gguf_config_metadata(config, true); });
  };
  EXPECT_THAT(error_with([](ModelConfig& c) { c.attention_bias = true; }), HasSubstr("attention_bias"));
  EXPECT_THAT(error_with([](ModelConfig& c) { c.rope_interleave = false; }), HasSubstr("rope_interleave"));
  EXPECT_THAT(error_with([](ModelConfig& c) { c.moe_layer_freq = 2; }), HasSubstr("moe_layer_freq"));
  EXPECT_THAT(error_with([](ModelConfig& c) { c.rope_scaling = test::tiny_yarn(); }),
              HasSubstr("mscale is 0.707"));
}

}  // namespace
}  // namespace fathom
