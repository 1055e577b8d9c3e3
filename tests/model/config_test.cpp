#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "model/config.h"
#include "model/weights.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

ModelConfig read(const Json& json) {
  return model_config_from_json(json, "config.json");
}

/// The message of the `Error` that a config gives; empty when it is read.
std::string error_of(const Json& json) {
  try {
    read(json);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

Json tiny_json() {
  return Json::parse(model_config_to_json(test::tiny_v3()).dump());
}

Json tiny_yarn_json() {
  ModelConfig config = test::tiny_v3();
  config.rope_scaling = test::tiny_yarn();
  return Json::parse(model_config_to_json(config).dump());
}

TEST(ConfigTest, SoftmaxScaleOfV3IsThePublishedOne) {
  ModelConfig config;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  EXPECT_NEAR(config.softmax_scale(), 1 / std::sqrt(192.0), 1e-12);
  config.rope_scaling = YarnScaling{40, 4096, 32, 1, 1, 1, {}};
  EXPECT_NEAR(config.softmax_scale(), 0.135234, 5e-7);  // DESIGN section 6
  EXPECT_EQ(config.rope_scaling->cos_sin_factor(), 1.0);
}

TEST(ConfigTest, CosSinFactorIsGivenOutrightOrFollowsFromTheMscales) {
  YarnScaling yarn{40, 4096, 32, 1, 1, 0, {}};
  EXPECT_NEAR(yarn.cos_sin_factor(), 1.36889, 5e-6);  // DESIGN section 6: 0.1 ln 40 + 1
  yarn.mscale = yarn.mscale_all_dim = 0.707;
  EXPECT_EQ(yarn.cos_sin_factor(), 1.0);
  yarn.attention_factor = 1.25;
  EXPECT_EQ(yarn.cos_sin_factor(), 1.25);
}

TEST(ConfigTest, AbsentKeysTakeTheDefaultsOfTransformers) {
  const ModelConfig v3 = read({{"model_type", "deepseek_v3"}});
  EXPECT_EQ(count_parameters(v3).total, 671026419200);
  EXPECT_EQ(v3.num_nextn_predict_layers, 1);
  EXPECT_EQ(v3.n_group, 8);
  EXPECT_EQ(v3.topk_group, 4);
  EXPECT_TRUE(v3.norm_topk_prob);
  EXPECT_EQ(v3.routed_scaling_factor, 2.5);
  EXPECT_EQ(v3.topk_method, TopkMethod::noaux_tc);
  EXPECT_FALSE(v3.rope_scaling.has_value());

  const ModelConfig v2 = read({{"model_type", "deepseek_v2"}, {"num_experts_per_tok", 6}});
  EXPECT_EQ(v2.hidden_size, 4096);
  EXPECT_EQ(v2.num_hidden_layers, 32);
  EXPECT_EQ(v2.q_lora_rank, 1536);
  EXPECT_EQ(v2.n_routed_experts, 64);
  EXPECT_EQ(v2.n_shared_experts, 2);
  EXPECT_EQ(v2.moe_intermediate_size, 1407);
  EXPECT_EQ(v2.first_k_dense_replace, 0);
  EXPECT_EQ(v2.num_nextn_predict_layers, 0);
  EXPECT_FALSE(v2.norm_topk_prob);
  EXPECT_EQ(v2.topk_method, TopkMethod::greedy);
  EXPECT_EQ(v2.scoring_func, ScoringFunc::softmax);
}

TEST(ConfigTest, NullQueryRankIsThePlainProjectionAndAbsentOneIsNot) {
  Json json = tiny_json();
  json["q_lora_rank"] = nullptr;
  EXPECT_EQ(read(json).q_lora_rank, 0);
  json.erase("q_lora_rank");
  EXPECT_EQ(read(json).q_lora_rank, 1536);
}

TEST(ConfigTest, OldAndNewSpellingOfRopeAgree) {
  const Json old_style = tiny_yarn_json();
  Json new_style = old_style;
  Json rope = old_style["rope_scaling"];
  rope["rope_theta"] = 5000;
  rope["rope_type"] = "yarn";
  new_style.erase("rope_scaling");
  new_style.erase("rope_theta");
  new_style["rope_parameters"] = rope;  // with "type" beside it, as transformers 5 writes it

  Json expected = old_style;
  expected["rope_theta"] = 5000;
  EXPECT_EQ(model_config_to_json(read(new_style)), model_config_to_json(read(expected)));

  Json plain = tiny_json();
  plain.erase("rope_theta");
  plain["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 50000.0}};
  EXPECT_EQ(read(plain).rope_theta, 50000.0);
  EXPECT_FALSE(read(plain).rope_scaling.has_value());
}

TEST(ConfigTest, EndOfTextTokensAreOneOrAList) {
  Json json = tiny_json();
  json["eos_token_id"] = {3, 5};
  EXPECT_EQ(read(json).eos_token_ids, (std::vector<std::int64_t>{3, 5}));
  json["eos_token_id"] = nullptr;
  json["bos_token_id"] = nullptr;
  EXPECT_TRUE(read(json).eos_token_ids.empty());
  EXPECT_EQ(read(json).bos_token_id, -1);
}

TEST(ConfigTest, SpecialTokensBeyondTheVocabularyAreLetPass) {
  Json json = tiny_json();  // as when somebody shrinks a released config
  json["bos_token_id"] = 100000;
  json["eos_token_id"] = 100001;
  EXPECT_EQ(read(json).bos_token_id, 100000);
}

TEST(ConfigTest, UnknownKeysAreNamedOnOneShortLine) {
  Json json = tiny_json();
  json["two\nlines" + std::string(5000, 'x')] = std::string(5000, '\n');
  EXPECT_THAT(error_of(json), HasSubstr("two"));
  EXPECT_EQ(error_of(json).find('\n'), std::string::npos);
  EXPECT_LT(error_of(json).size(), 400U);
}

TEST(ConfigTest, UnknownKeysThatAreNullSayNothing) {
  Json json = tiny_json();
  json["sliding_window"] = nullptr;
  EXPECT_EQ(error_of(json), "");
}

TEST(ConfigTest, TrainingSectionIsLeftAlone) {
  Json json = tiny_json();
  json["training"] = {{"steps", 100}, {"anything", {1, 2, 3}}};
  EXPECT_EQ(model_config_to_json(read(json)), model_config_to_json(test::tiny_v3()));
}

TEST(ConfigTest, AliasesOfTransformersAreReadAndMayNotContradict) {
  Json json = tiny_json();
  json["num_local_experts"] = 8;
  json["num_mtp_layers"] = 0;
  EXPECT_EQ(read(json).n_routed_experts, 8);
  json.erase("num_nextn_predict_layers");
  json["num_mtp_layers"] = 2;
  EXPECT_EQ(read(json).num_nextn_predict_layers, 2);
  json["num_local_experts"] = 16;
  EXPECT_THAT(error_of(json), HasSubstr("num_local_experts is 16"));
}

TEST(ConfigTest, Fp8StorageIsRead) {
  Json json = tiny_json();
  json["quantization_config"] = {{"quant_method", "fp8"},
                                 {"fmt", "e4m3"},
                                 {"activation_scheme", "dynamic"},
                                 {"weight_block_size", {128, 128}},
                                 {"scale_fmt", "ue8m0"}};
  ASSERT_TRUE(read(json).fp8.has_value());
  EXPECT_TRUE(read(json).fp8->power_of_two_scales);
  EXPECT_EQ(model_config_to_json(read(Json::parse(model_config_to_json(read(json)).dump()))),
            model_config_to_json(read(json)));
}

TEST(ConfigTest, EveryTinyModelSurvivesARoundTrip) {
  for (const test::NamedConfig& model : test::tiny_models()) {
    const OrderedJson written = model_config_to_json(model.config);
    const ModelConfig again = model_config_from_json(Json::parse(written.dump()), model.name);
    EXPECT_EQ(model_config_to_json(again), written) << model.name;
  }
}

/// One change to a valid config, and words that the message must hold.
struct BadValue {
  const char* key;
  Json value;
  const char* expectation;
};

TEST(ConfigTest, ImpossibleValuesNameFileKeyValueAndExpectation) {
  const std::vector<BadValue> cases = {
      {"model_type", "llama", "deepseek_v2 or deepseek_v3 or kimi_k2"},
      {"architectures", {"DeepseekV3ForSequenceClassification"}, "DeepseekV3ForCausalLM"},
      {"architectures", 3, "DeepseekV3ForCausalLM"},
      {"vocab_size", 0, "expected 1 to"},
      {"vocab_size", -5, "expected 1 to"},
      {"vocab_size", "many", "expected an integer"},
      {"vocab_size", 1.5, "expected an integer"},
      {"hidden_size", std::uint64_t{1} << 63, "expected an integer"},
      {"hidden_size", std::int64_t{1} << 62, "expected 1 to"},
      {"intermediate_size", 0, "expected 1 to"},
      {"moe_intermediate_size", 0, "expected 1 to"},
      {"num_hidden_layers", 0, "expected 1 to"},
      {"num_hidden_layers", 1000000000, "expected 1 to"},
      {"num_attention_heads", 0, "expected 1 to"},
      {"num_key_value_heads", 1, "num_attention_heads"},
      {"max_position_embeddings", 0, "expected 1 to"},
      {"rms_norm_eps", 0, "expected a positive number"},
      {"rms_norm_eps", "small", "expected a number"},
      {"initializer_range", -1, "from 0 up"},
      {"tie_word_embeddings", 1, "true or false"},
      {"q_lora_rank", -1, "expected 0 to"},
      {"kv_lora_rank", 0, "expected 1 to"},
      {"qk_nope_head_dim", 0, "expected 1 to"},
      {"qk_rope_head_dim", 7, "an even number"},
      {"v_head_dim", 0, "expected 1 to"},
      {"hidden_act", "gelu", "\"silu\""},
      {"attention_dropout", 0.1, "expected 0.0"},
      {"mlp_bias", true, "expected false"},
      {"rope_theta", 1, "above 1"},
      {"rope_theta", 1e300, "above 1"},
      {"routed_scaling_factor", 1e300, "a positive number"},
      {"rope_scaling", "yarn", "expected an object"},
      {"rope_parameters", 3, "expected an object"},
      {"partial_rotary_factor", 0.5, "expected 1.0"},
      {"first_k_dense_replace", -1, "expected 0 to"},
      {"moe_layer_freq", 0, "expected 1 to"},
      {"n_routed_experts", -8, "expected 0 to"},
      {"n_routed_experts", 1000000, "in all"},
      {"n_shared_experts", -1, "expected 0 to"},
      {"num_experts_per_tok", 0, "expected 1 to 8"},
      {"num_experts_per_tok", 9, "expected 1 to 8"},
      {"num_experts_per_tok", 5, "at most 4"},
      {"n_group", 3, "a divisor of n_routed_experts (8)"},
      {"n_group", 0, "expected 1 to"},
      {"n_group", 8, "groups of at least 2"},
      {"topk_group", 5, "expected 1 to 4"},
      {"topk_group", 0, "expected 1 to 4"},
      {"routed_scaling_factor", 0, "a positive number"},
      {"scoring_func", "softmax", "sigmoid"},
      {"scoring_func", "relu", "softmax or sigmoid"},
      {"topk_method", "greedy", "noaux_tc"},
      {"topk_method", "best", "greedy or group_limited_greedy or noaux_tc"},
      {"num_nextn_predict_layers", 1000, "expected 0 to 64"},
      {"bos_token_id", -1, "a token id"},
      {"eos_token_id", {1, -1}, "a token id"},
      {"eos_token_id", {"</s>"}, "an integer"},
      {"quantization_config", {{"quant_method", "gptq"}}, "fp8"},
      {"quantization_config", {{"quant_method", "fp8"}}, "[128, 128]"},
      {"mtp_hidden_states_first", true, "expected false"},
      {"sliding_window", 4096, "does not know"},
  };
  for (const BadValue& bad : cases) {
    Json json = tiny_json();
    json.erase("num_key_value_heads");  // else it is this one that does not fit num_attention_heads
    json[bad.key] = bad.value;
    if (std::string_view(bad.key) == "n_group" && bad.value == 8) json["topk_group"] = 4;
    EXPECT_THAT(error_of(json),
                AllOf(HasSubstr("config.json: "), HasSubstr(bad.key), HasSubstr(bad.expectation)))
        << bad.key << " " << bad.value;
    EXPECT_EQ(error_of(json).find('\n'), std::string::npos) << bad.key;
  }
}

TEST(ConfigTest, ImpossibleRopeScalingIsNamed) {
  const std::vector<BadValue> cases = {
      {"type", "linear", "yarn or default"},
      {"rope_type", "default", "the same as rope_type"},
      {"factor", 0.5, "from 1 up"},
      {"factor", nullptr, "a number"},
      {"factor", "forty", "a number"},
      {"original_max_position_embeddings", nullptr, "an integer"},
      {"original_max_position_embeddings", 0, "expected 1 to"},
      {"beta_fast", 0.5, "at least beta_slow"},
      {"beta_slow", 0, "a positive number"},
      {"mscale", nullptr, "or neither"},
      {"mscale_all_dim", 0, "or neither"},
      {"mscale_all_dim", -1, "from 0 up"},
      {"attention_factor", 0, "a positive number"},
      {"truncate", false, "expected true"},
      {"rope_theta", 123, "the same as the outer rope_theta"},
      {"short_factor", {1, 2}, "does not know"},
  };
  for (const BadValue& bad : cases) {
    Json json = tiny_yarn_json();
    json["rope_scaling"][bad.key] = bad.value;
    EXPECT_THAT(error_of(json), AllOf(HasSubstr("config.json: rope_scaling."), HasSubstr(bad.expectation)))
        << bad.key << " " << bad.value;
  }
  Json both = tiny_yarn_json();
  both["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_THAT(error_of(both), HasSubstr("rope_parameters is"));
}

TEST(ConfigTest, WhatV2DoesNotHaveIsNamed) {
  const Json v2 = Json::parse(model_config_to_json(test::tiny_v2()).dump());
  EXPECT_EQ(error_of(v2), "");
  const std::vector<BadValue> cases = {
      {"norm_topk_prob", true, "the references disagree"},
      {"rope_interleave", false, "expected true with deepseek_v2"},
      {"num_nextn_predict_layers", 1, "expected 0 with deepseek_v2"},
      {"scoring_func", "sigmoid", "needs softmax"},
      {"topk_method", "noaux_tc", "greedy or group_limited_greedy"},
      {"num_experts_per_tok", nullptr, "expected 1 to 8"},
  };
  for (const BadValue& bad : cases) {
    Json json = v2;
    json[bad.key] = bad.value;
    EXPECT_THAT(error_of(json), AllOf(HasSubstr(bad.key), HasSubstr(bad.expectation)));
  }
}

TEST(ConfigTest, SizesThatMultiplyBeyondReasonAreRefused) {
  Json json = tiny_json();
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "kv_lora_rank",
        "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "moe_intermediate_size"})
    json[key] = 1 << 24;
  json["num_key_value_heads"] = 1 << 24;
  EXPECT_THAT(error_of(json), HasSubstr("parameters, expected at most"));
}

TEST(ConfigTest, ConfigThatIsNoObjectIsNamed) {
  for (const Json& json : {Json(), Json(3), Json::array({1}), Json("text")})
    EXPECT_THAT(error_of(json), HasSubstr("config.json: the config is"));
  EXPECT_THAT(error_of(Json::object()), HasSubstr("model_type is absent"));
}

/// Whatever stands at whatever key: a config or an `Error`, and what is accepted can be walked.
TEST(ConfigTest, MutatedConfigsAreReadOrRefusedNeverMore) {
  Rng rng(2024);
  const std::vector<Json> values = {nullptr,
                                    true,
                                    false,
                                    0,
                                    1,
                                    2,
                                    3,
                                    7,
                                    -1,
                                    INT64_MAX,
                                    1e300,
                                    -0.5,
                                    1e-9,
                                    "",
                                    "a",
                                    "yarn",
                                    "sigmoid",
                                    Json::array(),
                                    UINT64_MAX,
                                    64,
                                    8,
                                    4,
                                    5,
                                    16,
                                    1 << 20,
                                    1.0,
                                    Json::object(),
                                    {{"type", 1}},
                                    {1, 2},
                                    std::string(1000, 'x'),
                                    "\xff\xfe"};
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    Json json = i % 2 == 0 ? tiny_yarn_json() : Json::parse(model_config_to_json(test::tiny_v2()).dump());
    const std::uint64_t changes = 1 + rng.below(3);
    for (std::uint64_t c = 0; c < changes; ++c) {
      Json& object = i % 4 == 0 && json["rope_scaling"].is_object() ? json["rope_scaling"] : json;
      if (object.empty()) continue;
      auto at = object.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(rng.below(object.size())));
      *at = values[rng.below(values.size())];
    }
    const std::string error = error_of(json);
    if (!error.empty()) {
      EXPECT_EQ(error.find('\n'), std::string::npos) << error;
      continue;
    }
    ++accepted;
    const ModelConfig config = read(json);
    EXPECT_TRUE(std::isfinite(config.softmax_scale()));
    const OrderedJson written = model_config_to_json(config);
    EXPECT_EQ(model_config_to_json(read(Json::parse(written.dump()))), written);
  }
  EXPECT_GT(accepted, 100);
}

class ReleasedConfigTest : public testing::TestWithParam<const char*> {
 protected:
  static std::filesystem::path file(const std::filesystem::path& shared) {
    return shared / "configs" / (std::string(GetParam()) + ".json");
  }
};

TEST_P(ReleasedConfigTest, IsReadAndSurvivesARoundTrip) {
  FATHOM_SHARED_DATA_OR_SKIP(shared);
  const ModelConfig config = load_model_config(file(shared));
  const OrderedJson written = model_config_to_json(config);
  const ModelConfig again = read(Json::parse(written.dump()));
  EXPECT_EQ(model_config_to_json(again), written);
  // What is written says the same as what was read, key by key, where both have it.
  const Json released = read_json_file(file(shared));
  const std::set<std::string> rewritten = {"model_type", "architectures", "quantization_config",
                                           "rope_scaling"};
  for (const auto& [key, value] : written.items()) {
    if (!released.contains(key) || rewritten.contains(key)) continue;
    EXPECT_EQ(Json::parse(value.dump()), released[key]) << key;
  }
}

TEST_P(ReleasedConfigTest, TruncatedIsAnError) {
  FATHOM_SHARED_DATA_OR_SKIP(shared);
  const std::string text = read_text_file(file(shared), 1 << 20);
  for (std::size_t length = 0; length + 1 < text.size(); length += 37)
    EXPECT_THROW(read(parse_json(text.substr(0, length), "config.json")), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, ReleasedConfigTest,
                         testing::Values("DeepSeek-V2", "DeepSeek-V2-Lite", "DeepSeek-V3", "DeepSeek-V3.1",
                                         "Moonlight-16B-A3B", "Kimi-K2"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
                           return name;
                         });

TEST(ReleasedConfigsTest, PublishedCountsFollowFromTheFiles) {
  FATHOM_SHARED_DATA_OR_SKIP(shared);
  const auto total = [&](const char* name) {
    return count_parameters(load_model_config(shared / "configs" / name)).total;
  };
  EXPECT_EQ(total("DeepSeek-V3.json"), 671026419200);
  EXPECT_EQ(total("DeepSeek-V3.1.json"), 671026419200);
  EXPECT_EQ(total("DeepSeek-V2.json"), 235741434880);
  EXPECT_EQ(total("DeepSeek-V2-Lite.json"), 15706484224);
  EXPECT_EQ(total("Moonlight-16B-A3B.json"), 15960110208);
  EXPECT_EQ(total("Kimi-K2.json"), 1026408232448);
}

TEST(ConfigTest, ConfigsThatTransformersComputedGoldensWithAreRead) {
  const Json goldens = read_json_file(test::golden("model/goldens/transformer_goldens.json"));
  for (const Json& item : goldens["cases"]) EXPECT_EQ(error_of(item["config"]), "") << item["name"];
}

}  // namespace
}  // namespace fathom
