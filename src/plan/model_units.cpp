#include "plan/model_units.h"

#include "model/parameter_uses.h"
#include "model/weights.h"
#include "plan/training_cost.h"

namespace fathom {
namespace {

/// Heads, feed-forward columns and vocabulary are cut. Norms, router and the maps to latents work on a rank's
/// own tokens, and so does what joins state and embedding in an MTP module.
bool is_split(const ParameterSpec& spec) {
  switch (spec.kind) {
    case ParameterKind::embedding:
    case ParameterKind::head:
      return true;
    case ParameterKind::linear:
      return !spec.name.ends_with(".q_a_proj.weight") && !spec.name.ends_with(".kv_a_proj_with_mqa.weight") &&
             !spec.name.ends_with(".eh_proj.weight");
    default:
      return false;
  }
}

/// Attention gathers latents (without a query latent, its input) and sums its output over the heads; a dense
/// network or the shared experts gather their input and sum their output. The backward pass does the same the
/// other way about, and gathers inputs again for the weights' gradients.
void add_gatherings(const ModelConfig& config, ModelUnit& block) {
  const std::int64_t attention_input =
      config.q_lora_rank > 0 ? config.q_lora_rank + config.latent_dim() : config.hidden_size;
  block.gathered_values = attention_input + config.hidden_size;
  block.gatherings = 2;
  block.regathered_values = attention_input;
  block.regatherings = 1;
  if (block.is_moe && config.n_shared_experts == 0) return;
  block.gathered_values += 2 * config.hidden_size;
  block.gatherings += 2;
  block.regathered_values += config.hidden_size;
  block.regatherings += 1;
}

void add_parameter(const ModelConfig& config, const ParameterSpec& spec, ModelUnit& unit) {
  const std::int64_t size = element_count(spec.shape);
  switch (spec.kind) {
    case ParameterKind::expert:
      unit.expert_parameters += size;
      break;
    case ParameterKind::linear:
      unit.linear_parameters += size;
      if (!is_split(spec)) unit.unsplit_linear_parameters += size;
      break;
    default:
      unit.other_parameters += size;
      if (!is_split(spec)) unit.unsplit_other_parameters += size;
      break;
  }
  if (spec.shape.size() != 2) return;
  const double uses = uses_per_token(config, spec);
  unit.linear_flops += 2 * uses * static_cast<double>(size);
  if (spec.name.ends_with(".kv_b_proj.weight")) unit.expanded_flops += 2 * uses * static_cast<double>(size);
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
    add_gatherings(config, unit);
    unit.kept_bytes = bytes.kept;
    unit.working_bytes = bytes.working;
    // An MTP module keeps its embedding, state and output, and the gradient at the head's input.
    if (layer >= config.num_hidden_layers)
      unit.kept_bytes += 4 * config.hidden_size * static_cast<std::int64_t>(sizeof(float));
  }
  units.front().gathered_values = config.hidden_size;  // summed over the vocabulary's parts
  units.front().gatherings = 1;
  ModelUnit& head = units.back();
  const std::int64_t heads = 1 + config.num_nextn_predict_layers;
  head.gathered_values = heads * config.hidden_size;
  head.gatherings = static_cast<std::int32_t>(heads);
  head.regathered_values = head.gathered_values;
  head.regatherings = head.gatherings;
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
