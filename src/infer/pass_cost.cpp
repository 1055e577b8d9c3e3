#include "infer/pass_cost.h"

#include <algorithm>

#include "model/absorbed_kv_b.h"

namespace fathom {
namespace {

void add_map(const LinearWeight& w, double tokens, PassCost& cost) {
  if (!w.weight.defined()) return;
  cost.weight_bytes += map_bytes(w);
  cost.weight_operations += 2.0 * tokens * static_cast<double>(w.weight.size());
}

void add_mlp(const MlpWeights& w, double tokens, PassCost& cost) {
  for (const LinearWeight* map : {&w.gate_proj, &w.up_proj, &w.down_proj}) add_map(*map, tokens, cost);
}

void add_router(const Tensor& router, double tokens, PassCost& cost) {
  cost.weight_bytes += static_cast<double>(router.byte_size());
  cost.weight_operations += 2.0 * tokens * static_cast<double>(router.size());
}

void add_attention(const MlaWeights& w, double tokens, PassCost& cost) {
  for (const LinearWeight* map :
       {&w.q_proj, &w.q_a_proj, &w.q_b_proj, &w.kv_a_proj_with_mqa, &w.kv_b_proj, &w.o_proj})
    add_map(*map, tokens, cost);
}

}  // namespace

double map_bytes(const LinearWeight& map) {
  if (!map.weight.defined()) return 0.0;
  const double scales =
      map.weight_scale_inv.defined() ? static_cast<double>(map.weight_scale_inv.byte_size()) : 0.0;
  const std::size_t codes = halves_are_multiplied(map)
                                ? map.halves->k_b.byte_size() + map.halves->v_b.byte_size()
                                : map.weight.byte_size();
  return static_cast<double>(codes) + scales;
}

BlockCost block_cost(const BlockWeights& block) {
  PassCost shared;
  add_attention(block.self_attn, 1.0, shared);
  add_mlp(block.mlp, 1.0, shared);
  PassCost expert;
  if (!block.moe.experts.empty()) {
    add_router(block.moe.router, 1.0, shared);
    add_mlp(block.moe.shared_experts, 1.0, shared);
    add_mlp(block.moe.experts.front(), 1.0, expert);
  }
  return {shared.weight_bytes, expert.weight_bytes};
}

PassCost pass_cost(const ModelConfig& config, const TransformerWeights& weights, const ExpertCounts& counts,
                   std::int64_t tokens, std::int64_t sequences, std::int64_t depth, double cached_bytes) {
  PassCost cost;
  const auto all = static_cast<double>(tokens);
  std::size_t moe_layer = 0;
  double touched = 0;
  for (const BlockWeights& block : weights.layers) {
    add_attention(block.self_attn, all, cost);
    add_mlp(block.mlp, all, cost);
    if (block.moe.experts.empty()) continue;
    add_router(block.moe.router, all, cost);
    add_mlp(block.moe.shared_experts, all, cost);
    for (std::size_t e = 0; moe_layer < counts.size() && e < counts[moe_layer].size(); ++e) {
      if (counts[moe_layer][e] == 0) continue;
      touched += 1;
      add_mlp(block.moe.experts[e], static_cast<double>(counts[moe_layer][e]), cost);
    }
    ++moe_layer;
  }
  if (moe_layer > 0) cost.experts_touched = touched / static_cast<double>(moe_layer);
  // Only a sequence's last token needs logits.
  add_map(weights.lm_head, static_cast<double>(sequences), cost);

  const auto layers = static_cast<double>(weights.layers.size());
  const double own = all / static_cast<double>(std::max<std::int64_t>(1, sequences));
  const double pairs =
      all * (static_cast<double>(depth) + (own + 1.0) / 2.0);  // of a query and a key it sees
  const auto heads = static_cast<double>(config.num_attention_heads);
  const auto head = static_cast<double>(config.qk_nope_head_dim + config.v_head_dim);
  const auto rope = static_cast<double>(config.qk_rope_head_dim);
  const auto latent = static_cast<double>(config.kv_lora_rank);
  const double expanded = pairs * (head + rope) + static_cast<double>(depth * sequences) * latent * head;
  const double absorbed = pairs * (2.0 * latent + rope);
  cost.attention_operations = 2.0 * layers * heads * std::min(expanded, absorbed);
  cost.cache_bytes =
      layers * static_cast<double>(sequences) * (static_cast<double>(depth) + own) * cached_bytes;
  return cost;
}

}  // namespace fathom
