// MoE layers against transformers' DeepseekV2Moe and DeepseekV3MoE and autograd: goldens/make_moe_goldens.py.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "model/moe.h"
#include "support/moe_layer.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::hashed_values;

Json golden_case(const std::string& name) {
  for (const Json& json : read_json_file(test::golden("model/goldens/moe.json")))
    if (json["name"] == name) return json;
  fail("no golden case {}", name);
}

/// A golden array of one case.
std::vector<float> array_of(const Json& json, const std::string& name) {
  static const MappedFile file(test::golden("model/goldens/moe.bin"));
  const auto [offset, count] = json["arrays"].at(name).get<std::pair<std::size_t, std::size_t>>();
  std::vector<float> values(count);
  std::memcpy(values.data(), file.bytes().subspan(offset * 4, count * 4).data(), count * 4);
  return values;
}

ModelConfig config_of(const Json& json) {
  ModelConfig config;
  config.hidden_size = json["hidden_size"];
  config.moe_intermediate_size = json["moe_intermediate_size"];
  config.n_routed_experts = json["n_routed_experts"];
  config.n_shared_experts = json["n_shared_experts"];
  config.num_experts_per_tok = json["num_experts_per_tok"];
  config.n_group = json["n_group"];
  config.topk_group = json["topk_group"];
  config.norm_topk_prob = json["norm_topk_prob"];
  config.routed_scaling_factor = json["routed_scaling_factor"];
  config.scoring_func = json["scoring_func"] == "sigmoid" ? ScoringFunc::sigmoid : ScoringFunc::softmax;
  config.seq_aux = json["seq_aux"].get<bool>();
  const std::string method = json["topk_method"];
  config.topk_method = method == "noaux_tc" ? TopkMethod::noaux_tc
                       : method == "greedy" ? TopkMethod::greedy
                                            : TopkMethod::group_limited_greedy;
  return config;
}

/// Largest difference relative to the largest value: both sides sum some tens of f32 products.
void expect_near(std::span<const float> ours, const std::vector<float>& golden, const std::string& what) {
  ASSERT_EQ(ours.size(), golden.size()) << what;
  float largest = 0.0F;
  float difference = 0.0F;
  for (std::size_t i = 0; i < golden.size(); ++i) {
    largest = std::max(largest, std::abs(golden[i]));
    difference = std::max(difference, std::abs(ours[i] - golden[i]));
  }
  EXPECT_LE(difference, 2e-6F * std::max(largest, 1e-3F)) << what;
}

class MoeGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(MoeGoldenTest, ForwardChosenExpertsAndGradientsAgree) {
  const Json json = golden_case(GetParam());
  const ModelConfig config = config_of(json);
  MoeWeights weights = test::hashed_moe_weights(config, json["bias_offset"]);
  Sequences sequences{{0}};
  for (const std::int64_t length : json["lengths"]) sequences.offsets.push_back(sequences.tokens() + length);
  const Tensor x = hashed_values(6, {sequences.tokens(), config.hidden_size}, 1.5F);
  ThreadPool pool(2);
  const Context context{pool};
  const Moe moe(config, weights);

  Moe::Saved saved;
  const Tensor y = moe.forward(context, x, sequences, &saved);
  expect_near(y.values(), array_of(json, "y"), "y");
  expect_near(moe.forward(context, x, sequences, nullptr).values(), array_of(json, "y"), "y, nothing saved");
  EXPECT_NEAR(saved.router.balance_loss, json["balance_loss"].get<double>(), 1e-6);

  const Routing& routing = saved.router.routing;
  std::vector<std::pair<std::int32_t, float>> chosen;
  for (std::size_t slot = 0; slot < routing.experts.size(); ++slot)
    chosen.emplace_back(routing.experts[slot], routing.gates[slot]);
  for (auto token = chosen.begin(); token != chosen.end(); token += config.num_experts_per_tok)
    std::sort(token, token + config.num_experts_per_tok);
  std::vector<std::int32_t> experts;
  std::vector<float> gates;
  for (const auto& [expert, gate] : chosen) {
    experts.push_back(expert);
    gates.push_back(gate);
  }
  EXPECT_EQ(experts, json["chosen"].get<std::vector<std::int32_t>>());
  expect_near(gates, array_of(json, "gates"), "gates");

  Moe::Deltas deltas;
  const Tensor dy = hashed_values(7, x.shape(), 1.0F);
  const Tensor dx = moe.backward_input(context, dy, sequences, json["alpha"], saved, deltas);
  MoeWeights grads = test::zeros_like(weights);
  moe.backward_weight(context, x, saved, deltas, grads);
  expect_near(dx.values(), array_of(json, "dx"), "dx");
  expect_near(grads.router.values(), array_of(json, "drouter"), "router");
  for (const auto& [name, part] :
       {std::pair{"dgate_proj", &MlpWeights::gate_proj}, std::pair{"dup_proj", &MlpWeights::up_proj},
        std::pair{"ddown_proj", &MlpWeights::down_proj}}) {
    std::vector<float> all;
    for (const MlpWeights& expert : grads.experts) {
      const auto values = (expert.*part).weight.values();
      all.insert(all.end(), values.begin(), values.end());
    }
    expect_near(all, array_of(json, name), name);
  }
  if (config.n_shared_experts > 0) {
    const MlpWeights& shared = grads.shared_experts;
    expect_near(shared.gate_proj.weight.values(), array_of(json, "dshared_gate"), "shared gate_proj");
    expect_near(shared.up_proj.weight.values(), array_of(json, "dshared_up"), "shared up_proj");
    expect_near(shared.down_proj.weight.values(), array_of(json, "dshared_down"), "shared down_proj");
  }
}

INSTANTIATE_TEST_SUITE_P(Transformers, MoeGoldenTest,
                         testing::Values("v3_groups", "v3_plain", "v3_negative_scores", "v3_balance",
                                         "v2_greedy", "v2_groups", "v2_norm_topk_prob", "v3_batch_loss",
                                         "v3_batch_loss_bare", "v2_batch_loss"),
                         [](const auto& named) { return named.param; });

}  // namespace
}  // namespace fathom
