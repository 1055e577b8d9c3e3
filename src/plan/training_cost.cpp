#include "plan/training_cost.h"

#include <algorithm>

#include "model/weights.h"

namespace fathom {
namespace {

constexpr std::int64_t kFloat = sizeof(float);

/// Of one row as it is kept (model/kept.h), its scales too.
std::int64_t kept_bytes(RowFormat format, std::int64_t columns) {
  const std::int64_t scales = has_tile_scales(format) ? scale_blocks(columns) * kFloat : 0;
  return row_bytes(format, columns) + scales;
}

BlockBytes attention_bytes(const ModelConfig& c, Precision precision) {
  const std::int64_t latents = c.q_lora_rank + c.latent_dim();
  const std::int64_t queries = c.num_attention_heads * c.qk_head_dim();
  const std::int64_t keys_values = c.num_attention_heads * (c.qk_nope_head_dim + c.v_head_dim);
  const std::int64_t outputs = c.num_attention_heads * c.v_head_dim;
  // Working: queries, keys and values computed again, and their gradients; latents after their norms, and the
  // gradients before and after; the gradient at attention's output.
  return {kept_bytes(stream_format(precision), c.q_lora_rank) +
              kept_bytes(stream_format(precision), c.latent_dim()) +
              kept_bytes(attention_format(precision), outputs) + c.num_attention_heads * kFloat,
          (2 * (queries + keys_values) + outputs + 3 * latents) * kFloat};
}

BlockBytes feed_forward_bytes(const ModelConfig& c, bool is_moe, Precision precision) {
  const RowFormat format = swiglu_format(precision);
  if (!is_moe) return {2 * kept_bytes(format, c.intermediate_size), 3 * c.intermediate_size * kFloat};
  const std::int64_t shared = c.n_shared_experts * c.moe_intermediate_size;
  const std::int64_t routed = c.num_experts_per_tok * c.moe_intermediate_size;
  // Working, beside the deltas: inputs and outputs of the experts in grouped order.
  return {
      2 * (kept_bytes(format, shared) + c.num_experts_per_tok * kept_bytes(format, c.moe_intermediate_size)) +
          (c.n_routed_experts + 4 * c.num_experts_per_tok) * kFloat,
      (3 * (routed + shared) + c.n_routed_experts + 2 * c.num_experts_per_tok * c.hidden_size) * kFloat};
}

bool is_matrix(const ParameterSpec& spec) {
  return spec.shape.size() == 2;
}

/// Bytes of all moments together.
std::int64_t moment_bytes(const ModelConfig& config, const TrainingSizes& sizes) {
  std::int64_t values = 0;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const bool has_one =
        sizes.has_muon && (spec.kind == ParameterKind::linear || spec.kind == ParameterKind::expert);
    values += (has_one ? 1 : 2) * element_count(spec.shape);
  }
  return values * static_cast<std::int64_t>(dtype_size(moments_dtype(sizes.precision)));
}

}  // namespace

BlockBytes block_bytes(const ModelConfig& c, bool is_moe, Precision precision) {
  const BlockBytes attention = attention_bytes(c, precision);
  const BlockBytes feed_forward = feed_forward_bytes(c, is_moe, precision);
  // The block's input and its middle are kept. Working: both norms' outputs and their gradients, the gradient
  // that comes and the one that goes.
  return {2 * kept_bytes(stream_format(precision), c.hidden_size) + attention.kept + feed_forward.kept,
          6 * c.hidden_size * kFloat + attention.working + feed_forward.working};
}

double attention_flops_per_token(const ModelConfig& c, std::int64_t sequence_length) {
  return 2.0 * static_cast<double>(c.num_attention_heads * (c.qk_head_dim() + c.v_head_dim)) *
         static_cast<double>(sequence_length) / 2.0;
}

TrainedParameters trained_parameters(const ModelConfig& config) {
  const ParameterCounts counts = count_parameters(config);
  return {counts.total, counts.activated, config.num_nextn_predict_layers * counts.mtp_module};
}

TrainingFlops training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length) {
  double main = 0;
  double mtp = 0;
  double head = 0;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    if (!is_matrix(spec)) continue;
    auto size = static_cast<double>(element_count(spec.shape));
    if (spec.kind == ParameterKind::expert)
      size *= static_cast<double>(config.num_experts_per_tok) / static_cast<double>(config.n_routed_experts);
    const bool is_head = spec.kind == ParameterKind::head ||
                         (spec.kind == ParameterKind::embedding && config.tie_word_embeddings);
    if (is_head) head = size;
    if (spec.kind == ParameterKind::embedding && !config.tie_word_embeddings) continue;
    (spec.layer >= config.num_hidden_layers ? mtp : main) += size;
  }
  const double attention = 3.0 * attention_flops_per_token(config, sequence_length);
  const auto modules = static_cast<double>(config.num_nextn_predict_layers);
  return {6.0 * main + attention * static_cast<double>(config.num_hidden_layers),
          6.0 * (mtp + modules * head) + attention * modules};
}

BlockBytes run_bytes(const ModelConfig& config, std::int64_t begin, std::int64_t end, Precision precision) {
  BlockBytes run;
  const auto add_layer = [&](std::int64_t layer) {
    const BlockBytes block = block_bytes(config, config.is_moe_layer(layer), precision);
    run.kept += block.kept;
    run.working = std::max(run.working, block.working);
  };
  for (std::int64_t layer = begin; layer < end; ++layer) add_layer(layer);
  if (end != config.num_hidden_layers) return run;
  const std::int64_t modules = config.num_nextn_predict_layers;
  // Of the main model: the last block's output and the gradient at the head's input. Of an MTP module:
  // embedding, state, output and that gradient.
  run.kept += (2 + 4 * modules) * config.hidden_size * kFloat;
  for (std::int64_t module = 0; module < modules; ++module) add_layer(end + module);
  return run;
}

HeadBytes head_bytes(const ModelConfig& config, std::uint64_t tokens) {
  constexpr std::uint64_t kLogits = std::uint64_t{8} << 20;  // values of the head's slice (model/head.h)
  const auto words = static_cast<std::uint64_t>(config.vocab_size);
  const std::uint64_t logits = tokens > kLogits / words ? kLogits : tokens * words;
  return {words * static_cast<std::uint64_t>(config.hidden_size) * sizeof(float), logits * sizeof(float)};
}

TrainingMemory training_memory(const ModelConfig& config, const TrainingSizes& sizes) {
  const std::int64_t parameters = trained_parameters(config).total();
  const std::int64_t tokens = sizes.micro_batch * sizes.sequence_length;
  const BlockBytes run = run_bytes(config, 0, config.num_hidden_layers, sizes.precision);
  const HeadBytes head = head_bytes(config, static_cast<std::uint64_t>(tokens));
  const std::int64_t codes = sizes.precision == Precision::fp8 ? 1 : 0;

  TrainingMemory memory;
  const auto bytes = [](std::int64_t count, std::int64_t each) {
    constexpr double kMost = 0x1p60;  // of what is asked for in vain, sums stay numbers
    return static_cast<std::uint64_t>(
        std::min(static_cast<double>(count) * static_cast<double>(each), kMost));
  };
  memory.weights = bytes(parameters, kFloat + codes);
  memory.gradients = bytes(parameters, kFloat);
  memory.moments = bytes(moment_bytes(config, sizes), 1);
  if (sizes.has_average) memory.average = bytes(parameters, kFloat);
  memory.activations = bytes(run.kept, tokens) + head.gradient;
  memory.work_space = bytes(run.working, tokens) + head.logits;
  if (sizes.saves_beside) memory.snapshot = bytes(parameters, kFloat) + memory.moments + memory.average;
  return memory;
}

std::uint64_t checkpoint_bytes(const ModelConfig& config, std::int64_t weight_bytes,
                               const TrainingSizes& sizes) {
  const std::int64_t exact = weight_bytes < kFloat ? kFloat : 0;
  const std::int64_t copies = sizes.has_average ? 2 : 1;
  return static_cast<std::uint64_t>(trained_parameters(config).total() * copies * (weight_bytes + exact) +
                                    moment_bytes(config, sizes));
}

}  // namespace fathom
