#include "dist/stage_layers.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "dist/rank_stages.h"
#include "dist/stage_split.h"
#include "model/parameter_uses.h"
#include "model/weights.h"

namespace fathom {
namespace {

/// [layers]
std::vector<double> layer_costs(const ModelConfig& config) {
  std::vector<double> costs(static_cast<std::size_t>(config.num_hidden_layers), 0.0);
  const auto add = [&](std::int64_t layer, const ParameterSpec& spec) {
    if (spec.shape.size() == 2)
      costs[static_cast<std::size_t>(layer)] +=
          uses_per_token(config, spec) * static_cast<double>(element_count(spec.shape));
  };
  const std::int64_t last = config.num_hidden_layers - 1;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    add(spec.layer >= 0 ? std::min(spec.layer, last) : last, spec);
    if (spec.kind == ParameterKind::embedding && config.tie_word_embeddings)  // it is the head as well
      add(last, {spec.name, spec.shape, ParameterKind::head});
  }
  return costs;
}

}  // namespace

std::vector<LayerRun> split_layers(const ModelConfig& config, std::int32_t stages) {
  require(stages >= 1 && stages <= config.num_hidden_layers,
          "a model of {} layers cannot be cut into {} pipeline stages: take at most one stage for each layer",
          config.num_hidden_layers, stages);
  const std::vector<std::size_t> first = split_stages(layer_costs(config))[static_cast<std::size_t>(stages)];
  std::vector<LayerRun> runs;
  for (std::size_t s = 0; s + 1 < first.size(); ++s)
    runs.push_back({static_cast<std::int64_t>(first[s]), static_cast<std::int64_t>(first[s + 1])});
  return runs;
}

std::vector<std::vector<LayerRun>> layers_of_ranks(const ModelConfig& config, const PipelineShape& shape) {
  const std::vector<LayerRun> runs = split_layers(config, shape.stages);
  std::vector<std::vector<LayerRun>> ranks;
  for (const std::vector<std::size_t>& stages : stages_of_ranks(shape)) {
    ranks.emplace_back();
    for (const std::size_t stage : stages) ranks.back().push_back(runs[stage]);
  }
  return ranks;
}

}  // namespace fathom
