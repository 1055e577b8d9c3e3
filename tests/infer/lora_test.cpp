// LoRA adapters against PEFT, beside weights and merged into them, and what is no adapter of the model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "infer/generator.h"
#include "infer/score.h"
#include "infer/text_model.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "kernels/encode_blocks.h"
#include "model/adapters.h"
#include "model/fingerprint.h"
#include "model/linear.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using testing::HasSubstr;

std::string tiny_adapter(const std::string& name) {
  return test::tiny_checkpoint(name);
}

TextModel adapted(const std::vector<std::string>& adapters) {
  return load_text_model(test::tiny_checkpoint("tiny_f32"), {}, adapters);
}

class LoraTest : public testing::Test {
 protected:
  void expect_answers_of_peft(const TextModel& model) {
    const Transformer transformer(model.config, model.weights, model.config.max_position_embeddings);
    for (const test::TinyExpectation& expected : test::tiny_expectations("tiny_lora")) {
      const Score score = score_tokens(context_, transformer, expected.ids);
      for (std::size_t i = 1; i < expected.logprobs.size(); ++i)
        EXPECT_NEAR(score.log_probabilities[i - 1], *expected.logprobs[i],
                    2e-5 * std::max(1.0, std::abs(*expected.logprobs[i])));
      GenerationOptions options;
      options.sampling.temperature = 0;
      options.max_tokens = static_cast<std::int64_t>(expected.answer_ids.size());
      options.ignore_eos = true;
      EXPECT_EQ(Generator(context_, transformer, model.tokenizer, {}).generate(expected.ids, options).tokens,
                expected.answer_ids);
    }
  }

  ThreadPool pool_{1};
  Context context_{pool_};
  test::TemporaryFolder folder_;
};

TEST_F(LoraTest, AnswersAreThoseOfPeftWithStackedExpertsAndWithExpertsOfTheirOwn) {
  expect_answers_of_peft(adapted({tiny_adapter("tiny_lora")}));
  expect_answers_of_peft(adapted({tiny_adapter("tiny_lora_experts")}));
}

TEST_F(LoraTest, MergedWeightsAnswerTheSame) {
  TextModel model = adapted({tiny_adapter("tiny_lora")});
  merge_adapters(pool_, model.config, model.weights);
  visit_linear_maps(model.config, model.weights,
                    [](const ParameterSpec&, LinearWeight& map) { EXPECT_FALSE(map.adapter.defined()); });
  expect_answers_of_peft(model);
}

TEST_F(LoraTest, ScalesMultiplyAndSeveralAdaptersAddUp) {
  const std::string adapter = tiny_adapter("tiny_lora");
  expect_answers_of_peft(adapted({adapter + "=0.25", adapter + "=0.75"}));
  const std::vector<std::int32_t> text = test::tiny_expectations("tiny_f32").front().ids;
  const auto log_probabilities = [&](const TextModel& model) {
    const Transformer transformer(model.config, model.weights, model.config.max_position_embeddings);
    return score_tokens(context_, transformer, text).log_probabilities;
  };
  EXPECT_EQ(log_probabilities(adapted({adapter + "=0"})), log_probabilities(adapted({})));
  EXPECT_THROW(adapted({adapter + "=much"}), UsageError);
}

TEST_F(LoraTest, CachedLatentsAreOfTheModelWithItsAdapter) {
  const auto fingerprint = [](const TextModel& model) {
    return model_fingerprint(model.config, model.weights);
  };
  const std::string adapter = tiny_adapter("tiny_lora");
  EXPECT_EQ(fingerprint(adapted({adapter})), fingerprint(adapted({adapter})));
  EXPECT_NE(fingerprint(adapted({adapter})), fingerprint(adapted({})));
  EXPECT_NE(fingerprint(adapted({adapter})), fingerprint(adapted({adapter + "=0.5"})));
}

/// An adapter of random numbers for a map.
LowRank random_adapter(std::int64_t out, std::int64_t in, Rng& rng) {
  constexpr std::int64_t kRank = 3;
  LowRank adapter{Tensor::empty({kRank, in}), Tensor::empty({out, kRank})};
  for (Tensor* tensor : {&adapter.down, &adapter.up})
    for (float& value : tensor->values()) value = static_cast<float>(0.2 * rng.normal());
  return adapter;
}

TEST_F(LoraTest, EveryWayToComputeAModelHasTheAdapter) {
  for (const test::NamedConfig& named : test::tiny_models()) {
    SCOPED_TRACE(named.name);
    ModelConfig config = named.config;
    TransformerWeights weights =
        random_weights(config, 6);  // with which no router is so undecided that rounding decides
    Rng rng(2);
    visit_linear_maps(config, weights, [&](const ParameterSpec& spec, LinearWeight& map) {
      map.adapter = random_adapter(spec.shape[0], spec.shape[1], rng);
    });
    TransformerWeights merged = weights;
    merge_adapters(pool_, config, merged);
    const Transformer beside(config, weights, 128);
    const Transformer within(config, merged, 128);
    std::vector<std::int32_t> text(100);
    for (std::int32_t& token : text)
      token = static_cast<std::int32_t>(rng.uniform() * static_cast<double>(config.vocab_size));
    const auto length = static_cast<std::int64_t>(text.size());
    const Tensor expected = within.hidden_states(context_, text, Sequences::uniform(1, length));
    const auto expect_equal = [&](const Tensor& got, std::int64_t first) {
      for (std::int64_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got.f32()[i], expected.f32()[first * config.hidden_size + i], 2e-4) << i;
    };
    expect_equal(beside.hidden_states(context_, text, Sequences::uniform(1, length)), 0);
    // Whole, in pieces of which attention expands keys or folds queries, and token by token.
    for (const std::int64_t piece : {length, std::int64_t{40}, std::int64_t{5}, std::int64_t{1}}) {
      LatentCache cache(config, 128);
      for (std::int64_t begin = 0; begin < length; begin += piece) {
        const auto count = static_cast<std::size_t>(std::min(piece, length - begin));
        expect_equal(beside.forward_cached(
                         context_, std::span(text).subspan(static_cast<std::size_t>(begin), count), cache),
                     begin);
      }
    }
  }
}

TEST_F(LoraTest, WeightsOfBlocksStayAsTheyAre) {
  constexpr std::int64_t kOut = 48;
  constexpr std::int64_t kIn = 64;
  Rng rng(4);
  Tensor plain = Tensor::empty({kOut, kIn});
  for (float& value : plain.values()) value = static_cast<float>(rng.normal());
  Tensor x = Tensor::empty({5, kIn});
  for (float& value : x.values()) value = static_cast<float>(rng.normal());
  LinearWeight map;
  map.weight = Tensor::empty({kOut, kIn}, DType::q4_0);
  kernels::encode_blocks(DType::q4_0, plain.f32(), plain.size(), nullptr, map.weight.data());
  const Tensor without = linear_forward(context_, map, x);
  map.adapter = random_adapter(kOut, kIn, rng);
  const Tensor with = linear_forward(context_, map, x);
  const LowRank& adapter = map.adapter;
  for (std::int64_t t = 0; t < 5; ++t)
    for (std::int64_t o = 0; o < kOut; ++o) {
      double added = 0;
      for (std::int64_t r = 0; r < adapter.rank(); ++r)
        for (std::int64_t i = 0; i < kIn; ++i)
          added += static_cast<double>(adapter.up.f32()[o * adapter.rank() + r]) *
                   static_cast<double>(adapter.down.f32()[r * kIn + i]) *
                   static_cast<double>(x.f32()[t * kIn + i]);
      EXPECT_NEAR(with.f32()[t * kOut + o] - without.f32()[t * kOut + o], added, 1e-5);
    }
}

/// A copy of tiny_lora_experts that is spoilt.
class WrongAdapterTest : public LoraTest {
 protected:
  using Tensors = std::map<std::string, Tensor>;
  static constexpr const char* kOne = "base_model.model.model.layers.0.self_attn.q_a_proj.lora_A.weight";

  [[nodiscard]] std::string error_with(const std::function<void(Json&)>& change_config,
                                       const std::function<void(Tensors&)>& change_tensors) const {
    const std::filesystem::path copy = folder_.path() / "adapter";
    std::filesystem::remove_all(copy);
    std::filesystem::copy(tiny_adapter("tiny_lora_experts"), copy);
    Json config = read_json_file(copy / "adapter_config.json");
    change_config(config);
    write_file_atomically(copy / "adapter_config.json", config.dump());
    Tensors tensors;
    {
      const SafetensorsFile file(copy / "adapter_model.safetensors");
      for (const TensorEntry& entry : file.entries())
        tensors[std::string(entry.name)] = file.get(entry.name).clone();
    }
    change_tensors(tensors);
    std::vector<StoredTensor> stored;
    for (const auto& [name, tensor] : tensors) stored.push_back({name, tensor.shape()});
    SafetensorsWriter writer(copy / "adapter_model.safetensors", stored);
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
    writer.commit();
    return test::error_of([&] { adapted({copy}); });
  }
  [[nodiscard]] std::string error_with_config(const std::string& key, const Json& value) const {
    return error_with([&](Json& config) { config[key] = value; }, [](Tensors&) {});
  }
  [[nodiscard]] std::string error_with_tensors(const std::function<void(Tensors&)>& change) const {
    return error_with([](Json&) {}, change);
  }
};

TEST_F(WrongAdapterTest, WhatIsNoPlainLoraIsNamed) {
  EXPECT_EQ(error_with_tensors([](Tensors&) {}), "no error");
  EXPECT_THAT(error_with_config("peft_type", "IA3"), HasSubstr("peft_type is \"IA3\""));
  EXPECT_THAT(error_with_config("use_dora", true), HasSubstr("use_dora is set"));
  EXPECT_THAT(error_with_config("bias", "all"), HasSubstr("biases cannot be adapted"));
  EXPECT_THAT(error_with_config("modules_to_save", Json::array({"lm_head"})), HasSubstr("modules_to_save"));
  EXPECT_THAT(error_with_config("r", "two"), HasSubstr("r is \"two\", expected a number"));
  EXPECT_THAT(error_with_config("r", 0), HasSubstr("r is 0, expected a rank"));
  EXPECT_THAT(error_with_config("r", 7), HasSubstr("adapter_config.json says rank 7"));
  EXPECT_THAT(error_with_config("alpha_pattern", Json{{"(a|b)*", 3}}), HasSubstr("no regular expressions"));
  EXPECT_THAT(test::error_of([&] { adapted({test::tiny_checkpoint("tiny_f32")}); }),
              HasSubstr("holds no adapter_config.json"));
}

TEST_F(WrongAdapterTest, MatricesThatDoNotFitAreNamed) {
  EXPECT_THAT(error_with_tensors([](Tensors& tensors) { tensors.erase(kOne); }),
              HasSubstr("q_a_proj has lora_B and no lora_A to go with it"));
  EXPECT_THAT(error_with_tensors([](Tensors& tensors) {
                tensors[kOne] = Tensor::zeros({3, 32});
              }),
              HasSubstr("their ranks differ"));
  EXPECT_THAT(error_with_tensors([](Tensors& tensors) {
                tensors[kOne] = Tensor::zeros({2, 31});
              }),
              HasSubstr("layers.0.self_attn.q_a_proj as a map of shape [16, 31], which is [16, 32] in this "
                        "model: is it an adapter of another?"));
  EXPECT_THAT(error_with_tensors([](Tensors& tensors) { tensors[kOne] = Tensor::zeros({64}); }),
              HasSubstr("expected a matrix"));
  EXPECT_THAT(error_with_tensors([](Tensors& tensors) {
                for (const char* half : {"lora_A", "lora_B"}) {
                  const std::string name = std::string("base_model.model.model.layers.9.mlp.up_proj.") + half;
                  tensors[name + ".weight"] = Tensor::zeros({2, 2});
                }
              }),
              HasSubstr("model.layers.9.mlp.up_proj, which is no linear map of this model"));
  EXPECT_THAT(error_with_tensors([](Tensors& tensors) {
                tensors["lm_head.weight"] = Tensor::zeros({2, 2});
              }),
              HasSubstr("tensor lm_head.weight is no lora_A or lora_B"));
  EXPECT_THAT(error_with_tensors([](Tensors& tensors) { tensors.clear(); }), HasSubstr("holds no matrices"));
}

}  // namespace
}  // namespace fathom
