#include "plan/model_units.h"

#include "model/parameter_uses.h"
#include "model/weights.h"
#include "plan/training_cost.h"

namespace fathom {
namespace {

void add_parameter(const ModelConfig& config, const ParameterSpec& spec, ModelUnit& unit) {
  const std::int64_t size = element_count(spec.shape);
  switch (spec.kind) {
    case ParameterKind::expert:
      unit.expert_parameters += size;
      break;
    case ParameterKind::linear:
      unit.linear_parameters += size;
      break;
    default:
      unit.other_parameters += size;
      break;
  }
  if (spec.shape.size() != 2) return;
  const double uses = uses_per_token(config, spec);
  unit.linear_flops += 2 * uses * static_cast<double>(size);
  unit.moved_values += uses * static_cast<double>(spec.shape[0] + spec.shape[1]);
}

}  // namespace

std::vector<ModelUnit> model_units(const ModelConfig& config, std::int64_t sequence_length,
                                   Precision precision) {
  const std::int64_t blocks = config.num_hidden_layers + config.num_nextn_predict_layers;
  std::vector<ModelUnit> units(static_cast<std::size_t>(blocks) + 2);
  for (std::int64_t layer = 0; layer < blocks; ++layer) {
    ModelUnit& unit = units[static_cast<std::size_t>(layer) + 1];
    const BlockBytes bytes = block_bytes(config, config.is_moe_layer(layer), precision);
    unit.is_block = true;
    unit.is_moe = config.is_moe_layer(layer);
    unit.attention_flops = attention_flops_per_token(config, sequence_length);
    unit.kept_bytes = bytes.kept;
    unit.working_bytes = bytes.working;
    // An MTP module keeps its embedding, state and output, and the gradient at the head's input.
    if (layer >= config.num_hidden_layers)
      unit.kept_bytes += 4 * config.hidden_size * static_cast<std::int64_t>(sizeof(float));
  }
  ModelUnit& head = units.back();
  head.kept_bytes = 2 * config.hidden_size * static_cast<std::int64_t>(sizeof(float));
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const bool at_start = spec.kind == ParameterKind::embedding;
    const std::size_t unit =
        spec.layer >= 0 ? static_cast<std::size_t>(spec.layer) + 1 : (at_start ? 0 : units.size() - 1);
    add_parameter(config, spec, units[unit]);
    if (at_start && config.tie_word_embeddings)  // it is the head as well
      add_parameter(config, {spec.name, spec.shape, ParameterKind::head}, head);
  }
  return units;
}

}  // namespace fathom
