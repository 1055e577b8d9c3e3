#include "support/golden_models.h"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "support/shared_data.h"

namespace fathom::test {
namespace {

std::uint64_t fnv1a_64(std::string_view text) {
  std::uint64_t value = 0xCBF29CE484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return value;
}

struct Distribution {
  float offset;
  float scale;
};

Distribution distribution(const ParameterSpec& spec) {
  const std::string_view name = spec.name;
  if (name.ends_with("e_score_correction_bias")) return {0.0F, 0.5F};
  if (name.ends_with(".bias")) return {0.0F, 1.0F};
  if (spec.shape.size() == 1) return {1.0F, 1.0F};
  if (name == "model.embed_tokens.weight") return {0.0F, 2.0F};
  if (name.ends_with("mlp.gate.weight")) return {0.0F, 1.0F};
  float scale = 4.0F;
  while (scale * scale * static_cast<float>(spec.shape.back()) > 24.0F) scale /= 2.0F;
  return {0.0F, scale};
}

/// Little-endian f32 numbers.
std::vector<float> read_floats(const std::filesystem::path& path) {
  static_assert(std::endian::native == std::endian::little);
  const MappedFile file(path);
  std::vector<float> values(file.bytes().size() / sizeof(float));
  std::memcpy(values.data(), file.bytes().data(), values.size() * sizeof(float));
  return values;
}

GoldenModel parse_case(const Json& json, std::span<const float> blob, std::size_t projections) {
  GoldenModel model;
  model.name = json.at("name");
  model.seed = json.at("seed");
  model.config = model_config_from_json(json.at("config"), model.name);
  model.sequences.offsets.push_back(0);
  for (const Json& sequence : json.at("sequences")) {
    for (const std::int32_t token : sequence) model.tokens.push_back(token);
    model.sequences.offsets.push_back(static_cast<std::int64_t>(model.tokens.size()));
  }
  const std::span<const float> logits =
      blob.subspan(json.at("logits_offset").get<std::size_t>(),
                   model.tokens.size() * static_cast<std::size_t>(model.config.vocab_size));
  model.logits.assign(logits.begin(), logits.end());
  for (const Json& sequence : json.at("routing")) {
    model.routing.resize(sequence.size());
    for (std::size_t layer = 0; layer < sequence.size(); ++layer)
      for (const Json& token : sequence[layer]) model.routing[layer].push_back(token);
  }

  model.has_gradients = json.contains("gradients");
  if (!model.has_gradients) return model;
  for (const Json& sequence : json.at("targets"))
    for (const std::int32_t target : sequence) model.targets.push_back(target);
  model.factors.mtp = json.at("factors").at("mtp");
  model.factors.balance = json.at("factors").at("balance");
  const Json& losses = json.at("losses");
  model.main_loss = losses.at("main");
  model.mtp_losses = losses.at("mtp").get<std::vector<double>>();
  model.balance_loss = losses.at("balance");
  model.total_loss = losses.at("total");
  std::size_t next = json.at("gradients_offset");
  for (const Json& parameter : json.at("gradients")) {
    GradientDigest& digest = model.gradients.emplace_back();
    digest.parameter = parameter;
    const std::span<const float> numbers = blob.subspan(next, projections + 1);
    digest.norm = numbers.front();
    digest.projections.assign(numbers.begin() + 1, numbers.end());
    next += projections + 1;
  }
  return model;
}

}  // namespace

std::vector<float> named_random_values(std::uint64_t seed, std::string_view name, std::int64_t count) {
  Rng rng(seed, fnv1a_64(name));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(rng.next_u32() >> 8U) * 0x1p-24F - 0.5F;
  return values;
}

TransformerWeights GoldenModel::weights() const {
  TransformerWeights weights = zero_weights(config);
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const Distribution parameter = distribution(spec);
    const std::vector<float> random = named_random_values(seed, spec.name, value.size());
    for (std::size_t i = 0; i < random.size(); ++i)
      value.values()[i] = parameter.offset + random[i] * parameter.scale;
  });
  return weights;
}

std::vector<std::int32_t> GoldenModel::sequence(std::int64_t s) const {
  const auto index = static_cast<std::size_t>(s);
  return {tokens.begin() + sequences.offsets.at(index), tokens.begin() + sequences.offsets.at(index + 1)};
}

const std::vector<GoldenModel>& golden_models() {
  static const std::vector<GoldenModel> models = [] {
    const Json json = read_json_file(golden("model/goldens/transformer_goldens.json"));
    const std::vector<float> blob = read_floats(golden("model/goldens/transformer_goldens.bin"));
    std::vector<GoldenModel> parsed;
    for (const Json& one : json.at("cases"))
      parsed.push_back(parse_case(one, blob, json.at("projections").get<std::size_t>()));
    return parsed;
  }();
  return models;
}

}  // namespace fathom::test
