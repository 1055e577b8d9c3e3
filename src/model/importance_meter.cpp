#include "model/importance_meter.h"

#include <fmt/core.h>

#include "kernels/swiglu.h"
#include "model/embedding.h"
#include "model/norm.h"

namespace fathom {
namespace {

constexpr std::size_t kColumnsPerItem = 256;

std::string map_name(std::size_t layer, const char* map) {
  return fmt::format("blk.{}.{}.weight", layer, map);
}

/// Σ x² of each column over rows; `row_at(r)` is where row r lies.
template <typename RowAt>
std::vector<double> column_squares(ThreadPool& pool, std::int64_t rows, std::int64_t columns,
                                   const RowAt& row_at) {
  std::vector<double> squares(static_cast<std::size_t>(columns));
  pool.parallel_ranges(squares.size(), kColumnsPerItem, [&](std::size_t begin, std::size_t end) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* x = row_at(row);
      for (std::size_t i = begin; i < end; ++i)
        squares[i] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
  });
  return squares;
}

/// silu(gate) · up: the input of the map down.
Tensor gated(const Context& context, const Kept& gate, const Kept& up) {
  const Tensor gates = gate.f32(context);
  const Tensor ups = up.f32(context);
  Tensor product = Tensor::empty(gates.shape());
  kernels::swiglu_forward(context.pool, gates.f32(), ups.f32(), gates.size(), product.f32());
  return product;
}

}  // namespace

ImportanceMeter::ImportanceMeter(const ModelConfig& config, const TransformerWeights& weights,
                                 std::int64_t max_tokens)
    : config_(config), weights_(weights), rope_(config, max_tokens) {
  blocks_.reserve(weights.layers.size());
  for (std::size_t layer = 0; layer < weights.layers.size(); ++layer)
    blocks_.emplace_back(config, static_cast<std::int64_t>(layer), weights.layers[layer], rope_);
}

void ImportanceMeter::read(const Context& context, std::span<const std::int32_t> tokens) {
  const Sequences sequence = Sequences::uniform(1, static_cast<std::int64_t>(tokens.size()));
  Tensor x = embed(weights_.embed_tokens, tokens);
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    Block::Saved saved;
    x = blocks_[layer].forward(context, x, sequence, &saved);
    add_attention(context, layer, saved);
    const Tensor middle =
        norm_forward(context, config_.rms_norm_eps, weights_.layers[layer].post_attention_layernorm,
                     saved.middle.f32(context));
    if (blocks_[layer].is_moe()) {
      add_experts(context, layer, middle, saved.moe);
    } else {
      add(context, layer, "ffn_gate", middle);
      add(context, layer, "ffn_up", middle);
      add(context, layer, "ffn_down", gated(context, saved.mlp.gate, saved.mlp.up));
    }
  }
}

void ImportanceMeter::add(const Context& context, std::size_t layer, const char* map, const Tensor& x) {
  const std::int64_t rows = x.dim(0);
  const std::int64_t columns = x.size() / rows;
  matrix_.add(
      map_name(layer, map), 1, 0,
      column_squares(context.pool, rows, columns, [&](std::int64_t row) { return x.f32() + row * columns; }),
      rows);
}

void ImportanceMeter::add_attention(const Context& context, std::size_t layer, const Block::Saved& saved) {
  const BlockWeights& weights = weights_.layers[layer];
  const Tensor input =
      norm_forward(context, config_.rms_norm_eps, weights.input_layernorm, saved.x.f32(context));
  if (config_.q_lora_rank > 0) {
    add(context, layer, "attn_q_a", input);
    add(context, layer, "attn_q_b",
        norm_forward(context, kLatentNormEps, weights.self_attn.q_a_layernorm,
                     saved.mla.q_latent.f32(context)));
  } else {
    add(context, layer, "attn_q", input);
  }
  add(context, layer, "attn_kv_a_mqa", input);
  add(context, layer, "attn_kv_b",
      norm_forward(context, kLatentNormEps, weights.self_attn.kv_a_layernorm, saved.mla.kv_a.f32(context)));
  add(context, layer, "attn_output", saved.mla.attention.f32(context));
}

void ImportanceMeter::add_experts(const Context& context, std::size_t layer, const Tensor& x,
                                  const Moe::Saved& saved) {
  if (config_.n_shared_experts > 0) {
    add(context, layer, "ffn_gate_shexp", x);
    add(context, layer, "ffn_up_shexp", x);
    add(context, layer, "ffn_down_shexp", gated(context, saved.shared.gate, saved.shared.up));
  }
  const ExpertGroups& groups = saved.groups;
  const Tensor product = gated(context, saved.experts.gate, saved.experts.up);
  for (std::int64_t expert = 0; expert < config_.n_routed_experts; ++expert) {
    const std::int64_t begin = groups.offsets[static_cast<std::size_t>(expert)];
    const std::int64_t rows = groups.offsets[static_cast<std::size_t>(expert) + 1] - begin;
    const std::vector<double> inward = column_squares(context.pool, rows, x.dim(1), [&](std::int64_t row) {
      return x.f32() + groups.token(begin + row) * x.dim(1);
    });
    const std::vector<double> inner =
        column_squares(context.pool, rows, product.dim(1),
                       [&](std::int64_t row) { return product.f32() + (begin + row) * product.dim(1); });
    matrix_.add(map_name(layer, "ffn_gate_exps"), config_.n_routed_experts, expert, inward, rows);
    matrix_.add(map_name(layer, "ffn_up_exps"), config_.n_routed_experts, expert, inward, rows);
    matrix_.add(map_name(layer, "ffn_down_exps"), config_.n_routed_experts, expert, inner, rows);
  }
}

}  // namespace fathom
