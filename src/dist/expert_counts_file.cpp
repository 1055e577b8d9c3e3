#include "dist/expert_counts_file.h"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace fathom {
namespace {

constexpr const char* kExperts = "n_routed_experts";
constexpr const char* kTokens = "tokens_of_expert";
/// More than a cluster sees in a year; sums of a few thousand of them fit.
constexpr std::int64_t kMostTokens = std::int64_t{1} << 50U;

std::vector<std::int64_t> read_layer(const Json& json, const ModelConfig& config, std::string_view where) {
  require(json.is_array() && static_cast<std::int64_t>(json.size()) == config.n_routed_experts,
          "{}: must be a list of {} counts, one for each routed expert", where, config.n_routed_experts);
  std::vector<std::int64_t> counts;
  for (const Json& value : json) {
    require(value.is_number_integer() && value >= 0 && value <= kMostTokens,
            "{}: counts must be whole numbers from 0 to {}", where, kMostTokens);
    counts.push_back(value.get<std::int64_t>());
  }
  return counts;
}

}  // namespace

std::string expert_counts_text(const ModelConfig& config, const ExpertCounts& counts) {
  OrderedJson layers = OrderedJson::object();
  std::size_t index = 0;
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (!config.is_moe_layer(layer)) continue;
    std::vector<std::int64_t> of_layer = index < counts.size() ? counts[index] : std::vector<std::int64_t>();
    of_layer.resize(static_cast<std::size_t>(config.n_routed_experts));
    layers[std::to_string(layer)] = of_layer;
    ++index;
  }
  return OrderedJson{{kExperts, config.n_routed_experts}, {kTokens, layers}}.dump() + "\n";
}

ExpertCounts read_expert_counts(const std::filesystem::path& file, const ModelConfig& config) {
  const Json json = read_json_file(file);
  require(json.is_object() && json.contains(kTokens) && json.at(kTokens).is_object(),
          "{}: needs an object \"{}\" with a list of counts for each MoE layer, as `fathom serve` writes it",
          file.string(), kTokens);
  const Json& layers = json.at(kTokens);
  ExpertCounts counts;
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (!config.is_moe_layer(layer)) continue;
    const std::string name = std::to_string(layer);
    require(layers.contains(name), "{}: {} has no layer {}, which is a MoE layer of this model",
            file.string(), kTokens, name);
    counts.push_back(
        read_layer(layers.at(name), config, fmt::format("{}: {}.{}", file.string(), kTokens, name)));
  }
  require(layers.size() == counts.size(), "{}: {} has {} layers, and this model {} MoE layers", file.string(),
          kTokens, layers.size(), counts.size());
  return counts;
}

}  // namespace fathom
