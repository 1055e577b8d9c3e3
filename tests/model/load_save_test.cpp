#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "io/checkpoint_folder.h"
#include "io/checkpoint_writer.h"
#include "model/load.h"
#include "model/save.h"
#include "support/file_size_limit.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string load_error(const std::filesystem::path& folder) {
  try {
    load_model(folder);
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return {};
}

/// Every parameter as f32, by name.
std::map<std::string, std::vector<float>> values_of(const ModelConfig& config,
                                                    const TransformerWeights& weights) {
  TransformerWeights views = weights;
  std::map<std::string, std::vector<float>> values;
  visit_parameters(config, views, [&](const ParameterSpec& spec, Tensor& value, Tensor* scale) {
    const Tensor wide = to_f32(value, scale != nullptr ? *scale : Tensor());
    values[spec.name].assign(wide.values().begin(), wide.values().end());
  });
  return values;
}

/// Weights whose norms and biases are not all alike, so that a mix-up shows.
TransformerWeights varied_weights(const ModelConfig& config) {
  TransformerWeights weights = random_weights(config, 11);
  float shift = 0;
  visit_parameters(config, weights, [&](const ParameterSpec&, Tensor& value, Tensor*) {
    shift += 0.001F;
    for (float& x : value.values()) x += shift;
  });
  return weights;
}

/// A checkpoint folder written by hand: what `change` makes of a tiny model's tensors.
class HandWritten {
 public:
  explicit HandWritten(const ModelConfig& config) : config_(config) {
    TransformerWeights weights = random_weights(config, 3);
    visit_parameters(config, weights,
                     [&](const ParameterSpec& spec, Tensor& value, Tensor*) { tensors[spec.name] = value; });
  }

  std::map<std::string, Tensor> tensors;

  void write(const std::filesystem::path& folder) const {
    std::vector<StoredTensor> layout;
    for (const auto& [name, tensor] : tensors) layout.push_back({name, tensor.shape(), tensor.dtype()});
    SafetensorsWriter writer(folder / "model.safetensors", layout);
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
    writer.commit();
    write_file_atomically(folder / "config.json", model_config_to_json(config_).dump());
  }

 private:
  ModelConfig config_;
};

class SavedModelTest : public testing::TestWithParam<test::NamedConfig> {};

TEST_P(SavedModelTest, LoadsToTheSameValuesInF32) {
  const ModelConfig& config = GetParam().config;
  const test::TemporaryFolder folder;
  const TransformerWeights weights = varied_weights(config);
  save_model(folder.path() / "model", config, weights, {.dtype = DType::f32});

  const LoadedModel mapped = load_model(folder.path() / "model");
  EXPECT_EQ(model_config_to_json(mapped.config), model_config_to_json(config));
  EXPECT_EQ(values_of(mapped.config, mapped.weights), values_of(config, weights));
  EXPECT_EQ(mapped.weights.lm_head.weight.data() == mapped.weights.embed_tokens.data(),
            config.tie_word_embeddings);

  Tensor arena;
  const LoadedModel copied = load_model_f32(folder.path() / "model", &arena);
  EXPECT_EQ(values_of(copied.config, copied.weights), values_of(config, weights));
  EXPECT_EQ(arena.data(), copied.weights.embed_tokens.data());
  EXPECT_EQ(copied.weights.lm_head.weight.data() == copied.weights.embed_tokens.data(),
            config.tie_word_embeddings);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SavedModelTest, testing::ValuesIn(test::tiny_models()),
                         [](const auto& tested) { return tested.param.name; });

/// Largest difference relative to the largest magnitude of a parameter, over all parameters.
double worst_error(const std::map<std::string, std::vector<float>>& expected,
                   const std::map<std::string, std::vector<float>>& actual) {
  double worst = 0;
  for (const auto& [name, values] : expected) {
    double largest = 0;
    double difference = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(values[i])));
      difference = std::max(difference, std::abs(static_cast<double>(values[i]) - actual.at(name)[i]));
    }
    if (largest > 0) worst = std::max(worst, difference / largest);
  }
  return worst;
}

TEST(SaveTest, NarrowTypesRoundOnce) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  const TransformerWeights weights = varied_weights(config);
  const auto expected = values_of(config, weights);
  // Half a unit in the last place: of 8 significand bits in BF16, of 11 in F16; of E4M3's steps of 32 below
  // 448.
  for (const auto& [dtype, tolerance] :
       {std::pair{DType::bf16, 0x1p-8}, {DType::f16, 0x1p-11}, {DType::f8_e4m3, 16.001 / 448}}) {
    const test::TemporaryFolder folder;
    save_model(folder.path(), config, weights, {.dtype = dtype});
    const LoadedModel model = load_model(folder.path());
    const double error = worst_error(expected, values_of(model.config, model.weights));
    EXPECT_LE(error, tolerance) << dtype_name(dtype);
    EXPECT_GT(error, tolerance / 100) << dtype_name(dtype);
    EXPECT_EQ(values_of(model.config, load_model_f32(folder.path()).weights),
              values_of(model.config, model.weights));
  }
}

TEST(SaveTest, Fp8IsForTheMatricesThatReleasedCheckpointsHaveInFp8) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  const test::TemporaryFolder folder;
  save_model(folder.path(), config, varied_weights(config), {.dtype = DType::f8_e4m3});
  const CheckpointFolder checkpoint(folder.path());
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const bool fp8 =
        spec.name.find("proj") != std::string::npos && spec.name.find("eh_proj") == std::string::npos;
    const std::string bias = "e_score_correction_bias";
    EXPECT_EQ(checkpoint.entry(spec.name).dtype, fp8                         ? "F8_E4M3"
                                                 : spec.name.ends_with(bias) ? "F32"
                                                                             : "BF16")
        << spec.name;
    EXPECT_EQ(checkpoint.contains(spec.name + "_scale_inv"), fp8) << spec.name;
  }
  const ModelConfig read = load_model_config(folder.path() / "config.json");
  ASSERT_TRUE(read.fp8.has_value());
  EXPECT_FALSE(read.fp8->power_of_two_scales);
}

TEST(SaveTest, Fp8IsCopiedAsItIsUnlessOtherScalesAreWanted) {
  const ModelConfig config = test::tiny_v3();
  const test::TemporaryFolder folder;
  save_model(folder.path() / "a", config, varied_weights(config), {.dtype = DType::f8_e4m3});
  const LoadedModel a = load_model(folder.path() / "a");
  save_model(folder.path() / "b", a.config, a.weights, {.dtype = DType::f8_e4m3});
  EXPECT_EQ(read_text_file(folder.path() / "a/model.safetensors", 1 << 24),
            read_text_file(folder.path() / "b/model.safetensors", 1 << 24));

  save_model(folder.path() / "c", a.config, a.weights,
             {.dtype = DType::f8_e4m3, .fp8_scales = ScaleFormat::power_of_two});
  const LoadedModel c = load_model(folder.path() / "c");
  EXPECT_TRUE(c.config.fp8->power_of_two_scales);
  for (const float scale : c.weights.layers[0].self_attn.o_proj.weight_scale_inv.values()) {
    int exponent = 0;
    EXPECT_EQ(std::frexp(scale, &exponent), 0.5F);
  }
  save_model(folder.path() / "d", a.config, a.weights, {.dtype = DType::f32});
  const LoadedModel d = load_model(folder.path() / "d");
  EXPECT_FALSE(d.config.fp8.has_value());
  EXPECT_EQ(values_of(d.config, d.weights), values_of(a.config, a.weights));
}

TEST(SaveTest, ShardsAreIndexedAndLoad) {
  const ModelConfig config = test::tiny_v3();
  const test::TemporaryFolder folder;
  const TransformerWeights weights = varied_weights(config);
  save_model(folder.path(), config, weights, {.dtype = DType::f32, .max_shard_bytes = 20000});
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "model.safetensors.index.json"));
  const LoadedModel model = load_model(folder.path());
  EXPECT_EQ(values_of(model.config, model.weights), values_of(config, weights));
}

TEST(SaveTest, ReplacesAModelAndLeavesOtherFiles) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder.path() / "tokenizer.json", "{}");
  save_model(folder.path(), test::tiny_v2(), random_weights(test::tiny_v2(), 1), {.dtype = DType::f32});
  const TransformerWeights weights = varied_weights(test::tiny_v3());
  save_model(folder.path(), test::tiny_v3(), weights, {.dtype = DType::f32});
  save_model(folder.path(), test::tiny_v3(), weights, {.dtype = DType::f32});
  const LoadedModel model = load_model(folder.path());
  EXPECT_EQ(values_of(model.config, model.weights), values_of(test::tiny_v3(), weights));
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    files.push_back(entry.path().filename().string());
  EXPECT_THAT(files, testing::UnorderedElementsAre("tokenizer.json", "config.json", "model.safetensors"));
}

TEST(SaveTest, AFailureLeavesTheOldModel) {
  const ModelConfig config = test::tiny_v3();
  const test::TemporaryFolder folder;
  const TransformerWeights good = varied_weights(config);
  save_model(folder.path(), config, good, {.dtype = DType::f16});
  TransformerWeights bad = varied_weights(config);
  bad.norm.values()[0] = 1e6F;  // beyond F16
  ModelConfig other = config;
  other.rope_theta = 123;
  EXPECT_THROW(save_model(folder.path(), other, bad, {.dtype = DType::f16}), Error);
  EXPECT_EQ(load_model(folder.path()).config.rope_theta, config.rope_theta);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

TEST(SaveTest, ADiskThatFillsUpLeavesTheOldModel) {
  const ModelConfig config = test::tiny_v3();
  const TransformerWeights weights = varied_weights(config);
  const test::TemporaryFolder folder;
  save_model(folder.path(), config, weights, {.dtype = DType::f32});
  ModelConfig other = config;
  other.rope_theta = 123;
  try {
    const test::FileSizeLimit limit(20000);
    save_model(folder.path(), other, random_weights(config, 1), {.dtype = DType::f32});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.safetensors: cannot write: "));
  }
  const LoadedModel model = load_model(folder.path());
  EXPECT_EQ(model.config.rope_theta, config.rope_theta);
  EXPECT_EQ(values_of(model.config, model.weights), values_of(config, weights));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

/// Saves two models to the same folder in turn until killed.
[[noreturn]] void save_for_ever(const std::filesystem::path& folder, const ModelConfig& a,
                                const ModelConfig& b, const TransformerWeights& weights_a,
                                const TransformerWeights& weights_b) {
  for (;;) {
    save_model(folder, a, weights_a, {.dtype = DType::f32});
    save_model(folder, b, weights_b, {.dtype = DType::f32});
  }
}

TEST(SaveTest, KilledAtAnyMomentItLeavesOneModelOrNoneNeverAMixture) {
  const ModelConfig a = test::tiny_v3();
  const TransformerWeights weights_a = varied_weights(a);
  const TransformerWeights weights_b = random_weights(a, 99);
  ModelConfig other = a;
  other.rope_theta = 123;
  for (const ModelConfig& b : {a, other}) {
    const test::TemporaryFolder folder;
    save_model(folder.path(), a, weights_a, {.dtype = DType::f32});
    for (int kill_after = 1; kill_after <= 12; ++kill_after) {
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) save_for_ever(folder.path(), a, b, weights_a, weights_b);
      std::this_thread::sleep_for(std::chrono::milliseconds(3 * kill_after));
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
      if (!std::filesystem::exists(folder.path() / "config.json")) {
        EXPECT_NE(b.rope_theta, a.rope_theta);  // a gap only where the config changes
        continue;
      }
      const LoadedModel model = load_model(folder.path());
      const auto values = values_of(model.config, model.weights);
      const bool is_a = values == values_of(a, weights_a);
      EXPECT_TRUE(is_a || values == values_of(a, weights_b));
      EXPECT_EQ(model.config.rope_theta, is_a ? a.rope_theta : b.rope_theta);
    }
  }
}

TEST(SaveTest, FolderThatCannotBeWrittenIsNamed) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder.path() / "file", "in the way");
  try {
    save_model(folder.path() / "file" / "model", test::tiny_v3(), random_weights(test::tiny_v3(), 1));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("file/model"));
  }
}

TEST(SaveTest, TypesThatNoModelIsStoredInAreRefused) {
  const test::TemporaryFolder folder;
  EXPECT_THROW(save_model(folder.path() / "m", test::tiny_v3(), random_weights(test::tiny_v3(), 1),
                          {.dtype = DType::i32}),
               Error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "m"));
}

TEST(LoadTest, MatricesStayMappedAndSmallVectorsBecomeF32) {
  const ModelConfig config = test::tiny_v3();
  const test::TemporaryFolder folder;
  save_model(folder.path(), config, varied_weights(config), {.dtype = DType::bf16});
  LoadedModel model = load_model(folder.path());
  visit_parameters(model.config, model.weights, [](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const bool wide = spec.kind == ParameterKind::norm || spec.kind == ParameterKind::router ||
                      spec.kind == ParameterKind::router_bias;
    EXPECT_EQ(value.dtype(), wide ? DType::f32 : DType::bf16) << spec.name;
  });
}

TEST(LoadTest, AbsentMtpModulesAreLeftOut) {
  ModelConfig config = test::tiny_v3();
  const test::TemporaryFolder folder;
  const HandWritten checkpoint(config);
  checkpoint.write(folder.path());
  config.num_nextn_predict_layers = 1;  // as transformers writes it beside a model without
  write_file_atomically(folder.path() / "config.json", model_config_to_json(config).dump());
  const LoadedModel model = load_model(folder.path());
  EXPECT_EQ(model.config.num_nextn_predict_layers, 0);
  EXPECT_TRUE(model.weights.mtp.empty());
}

TEST(LoadTest, PartOfAnMtpModuleIsNotEnough) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  const test::TemporaryFolder folder;
  HandWritten checkpoint(config);
  checkpoint.tensors.erase("model.layers.3.eh_proj.weight");
  checkpoint.write(folder.path());
  EXPECT_THAT(load_error(folder.path()),
              HasSubstr("1 tensor(s) that config.json needs are missing, the first is "
                        "model.layers.3.eh_proj.weight [32, 64] (hidden_size × 2 · hidden_size)"));
}

TEST(LoadTest, CopiesAndBuffersOfReleasedCheckpointsArePassedOver) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  config.tie_word_embeddings = true;
  const test::TemporaryFolder folder;
  HandWritten checkpoint(config);
  checkpoint.tensors["lm_head.weight"] = Tensor::zeros({61, 32});
  checkpoint.tensors["model.layers.3.embed_tokens.weight"] = Tensor::zeros({61, 32});
  checkpoint.tensors["model.layers.3.shared_head.head.weight"] = Tensor::zeros({61, 32});
  checkpoint.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = Tensor::zeros({4});
  checkpoint.write(folder.path());
  EXPECT_EQ(load_error(folder.path()), "");
}

/// A change to a whole checkpoint, and words of the message.
struct Damage {
  const char* name;
  void (*change)(std::map<std::string, Tensor>& tensors);
  const char* message;
};

TEST(LoadTest, WhatDoesNotFitTheConfigIsNamed) {
  const std::vector<Damage> cases = {
      {"shape",
       [](auto& t) {
         t["model.layers.1.mlp.gate.weight"] = Tensor::zeros({6, 32});
       },
       "model.safetensors: tensor model.layers.1.mlp.gate.weight is [6, 32], config.json needs [8, 32] "
       "(n_routed_experts × hidden_size)"},
      {"rank",
       [](auto& t) {
         t["model.norm.weight"] = Tensor::zeros({32, 1});
       },
       "tensor model.norm.weight is [32, 1], config.json needs [32] (hidden_size)"},
      {"missing", [](auto& t) { t.erase("model.layers.2.mlp.experts.7.up_proj.weight"); },
       "the first is model.layers.2.mlp.experts.7.up_proj.weight [20, 32] (moe_intermediate_size × "
       "hidden_size)"},
      {"surplus",
       [](auto& t) {
         t["model.layers.0.mlp.gate.weight"] = Tensor::zeros({8, 32});
       },
       "1 tensor(s) have no place in the model that config.json describes, the first is "
       "model.layers.0.mlp.gate.weight"},
      {"more layers", [](auto& t) { t["model.layers.3.input_layernorm.weight"] = Tensor::zeros({32}); },
       "the first is model.layers.3.input_layernorm.weight"},
      {"integers",
       [](auto& t) {
         t["lm_head.weight"] = Tensor::zeros({61, 32}, DType::i32);
       },
       "tensor lm_head.weight is I32, expected F32, BF16 or F16"},
      {"FP8 norm",
       [](auto& t) {
         t["model.norm.weight"] = Tensor::zeros({32}, DType::f8_e4m3);
         t["model.norm.weight_scale_inv"] = Tensor::zeros({1});
       },
       "tensor model.norm.weight is F8_E4M3, expected F32, BF16 or F16"},
      {"FP8 without scale",
       [](auto& t) {
         t["model.layers.0.mlp.up_proj.weight"] = Tensor::zeros({44, 32}, DType::f8_e4m3);
       },
       "the first is model.layers.0.mlp.up_proj.weight_scale_inv, which an FP8 weight needs"},
      {"FP8 with too many scales",
       [](auto& t) {
         t["model.layers.0.mlp.up_proj.weight"] = Tensor::zeros({44, 32}, DType::f8_e4m3);
         t["model.layers.0.mlp.up_proj.weight_scale_inv"] = Tensor::zeros({2, 1});
       },
       "weight_scale_inv is [2, 1], config.json needs [1, 1]"},
      {"FP8 with narrow scales",
       [](auto& t) {
         t["model.layers.0.mlp.up_proj.weight"] = Tensor::zeros({44, 32}, DType::f8_e4m3);
         t["model.layers.0.mlp.up_proj.weight_scale_inv"] = Tensor::zeros({1, 1}, DType::bf16);
       },
       "weight_scale_inv is BF16, expected F32"},
      {"a scale without FP8",
       [](auto& t) {
         t["model.layers.0.mlp.up_proj.weight_scale_inv"] = Tensor::zeros({1, 1});
       },
       "no place in the model"},
  };
  for (const Damage& damage : cases) {
    const test::TemporaryFolder folder;
    HandWritten checkpoint(test::tiny_v3());
    damage.change(checkpoint.tensors);
    checkpoint.write(folder.path());
    EXPECT_THAT(load_error(folder.path()),
                AllOf(HasSubstr(folder.path().string()), HasSubstr(damage.message)))
        << damage.name;
    EXPECT_THROW(load_model_f32(folder.path()), Error) << damage.name;
  }
}

TEST(LoadTest, MissingAndTruncatedFilesAreNamed) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(load_error(folder.path() / "nowhere"), HasSubstr("nowhere"));
  EXPECT_THAT(load_error(folder.path()), HasSubstr("config.json"));
  HandWritten(test::tiny_v3()).write(folder.path());
  EXPECT_EQ(load_error(folder.path()), "");
  const std::filesystem::path file = folder.path() / "model.safetensors";
  for (const std::uintmax_t size :
       {std::filesystem::file_size(file) - 1, std::uintmax_t{100}, std::uintmax_t{4}}) {
    std::filesystem::resize_file(file, size);
    EXPECT_THAT(load_error(folder.path()), HasSubstr("model.safetensors"));
  }
  std::filesystem::remove(file);
  EXPECT_THAT(load_error(folder.path()), HasSubstr("model.safetensors"));
}

TEST(FindNonFiniteTest, NamesTheFirstPlaceInEachType) {
  const ModelConfig config = test::tiny_v3();
  TransformerWeights weights = random_weights(config, 5);
  EXPECT_EQ(find_non_finite(config, weights), std::nullopt);
  weights.layers[2].moe.router.f32()[5 * 32 + 17] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(find_non_finite(config, weights), "model.layers.2.mlp.gate.weight[5, 17] is nan");
  weights.layers[1].self_attn.kv_a_layernorm.f32()[3] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(find_non_finite(config, weights), "model.layers.1.self_attn.kv_a_layernorm.weight[3] is -inf");

  const test::TemporaryFolder folder;
  save_model(folder.path(), config, weights, {.dtype = DType::bf16});
  EXPECT_EQ(find_non_finite(config, load_model(folder.path()).weights),
            "model.layers.1.self_attn.kv_a_layernorm.weight[3] is -inf");
}

TEST(FindNonFiniteTest, LooksAtFp8CodesAndScales) {
  const ModelConfig config = test::tiny_v3();
  const test::TemporaryFolder folder;
  save_model(folder.path(), config, random_weights(config, 5), {.dtype = DType::f8_e4m3});
  LoadedModel model = load_model(folder.path());
  EXPECT_EQ(find_non_finite(config, model.weights), std::nullopt);
  LinearWeight& up = model.weights.layers[1].moe.experts[2].up_proj;
  up.weight_scale_inv = up.weight_scale_inv.clone();
  up.weight_scale_inv.f32()[0] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(find_non_finite(config, model.weights),
            "model.layers.1.mlp.experts.2.up_proj.weight_scale_inv[0, 0] is inf");
  up.weight = up.weight.clone();
  up.weight.bytes()[33] = std::byte{0x7f};
  EXPECT_EQ(find_non_finite(config, model.weights),
            "model.layers.1.mlp.experts.2.up_proj.weight[1, 1] is nan");
}

}  // namespace
}  // namespace fathom
