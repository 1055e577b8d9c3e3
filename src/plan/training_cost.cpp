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

TrainingMemory training_memory(const ModelConfig& config, const TrainingSizes& sizes) {
  const std::int64_t parameters = trained_parameters(config).total();
  const std::int64_t tokens = sizes.micro_batch * sizes.sequence_length;
  const std::int64_t modules = config.num_nextn_predict_layers;
  // Of the main model: the last block's output and the gradient at the head's input. Of an MTP module:
  // embedding, state, output and that gradient.
  std::int64_t kept = (2 + 4 * modules) * config.hidden_size * kFloat;
  std::int64_t working = 0;
  for (std::int64_t layer = 0; layer < config.num_hidden_layers + modules; ++layer) {
    const BlockBytes block = block_bytes(config, config.is_moe_layer(layer), sizes.precision);
    kept += block.kept;
    working = std::max(working, block.working);
  }
  constexpr std::int64_t kLogits = std::int64_t{8} << 20;  // values of the head's slice (model/head.h)
  const std::int64_t head = config.vocab_size * config.hidden_size;  // its gradient
  const std::int64_t logits = tokens > kLogits / config.vocab_size ? kLogits : tokens * config.vocab_size;
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
  memory.activations = bytes(kept, tokens) + bytes(head, kFloat);
  memory.work_space = bytes(working, tokens) + bytes(logits, kFloat);
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
