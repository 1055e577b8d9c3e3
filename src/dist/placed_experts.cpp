#include "dist/placed_experts.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "model/moe_layers.h"

namespace fathom {
namespace {

std::int64_t count_slots(const Communicator& ranks, const ModelConfig& config, std::int64_t redundant) {
  const std::int64_t slots = config.n_routed_experts + redundant;
  const std::int64_t missing = (ranks.size() - slots % ranks.size()) % ranks.size();
  require(redundant >= 0 && missing == 0,
          "{} experts and {} redundant copies do not divide over {} processes: {} redundant ones would",
          config.n_routed_experts, redundant, ranks.size(), redundant + missing);
  return slots;
}

/// Nodes are numbered as they come; ranks of one follow one another.
std::vector<std::int32_t> nodes_of_ranks(int ranks, int on_node) {
  std::vector<std::int32_t> nodes(static_cast<std::size_t>(ranks));
  for (int r = 0; r < ranks; ++r) nodes[static_cast<std::size_t>(r)] = r / on_node;
  return nodes;
}

}  // namespace

PlacedExperts::PlacedExperts(Communicator& ranks, const ModelConfig& config, std::int64_t redundant_experts,
                             const ExpertCounts& counts)
    : rank_(ranks.rank()),
      node_of_rank_(nodes_of_ranks(ranks.size(), ranks_per_node(ranks))),
      tokens_(static_cast<std::size_t>(ranks.size())),
      way_(ranks, count_slots(ranks, config, redundant_experts), ranks_per_node(ranks)) {
  const std::size_t moe_layers = moe_layers_before(config, config.num_hidden_layers);
  require(counts.empty() || counts.size() == moe_layers, "loads of {} MoE layers for a model that has {}",
          counts.size(), moe_layers);
  const bool has_groups = config.topk_method != TopkMethod::greedy;
  const PlacementShape shape{.slots = count_slots(ranks, config, redundant_experts),
                             .groups = has_groups ? config.n_group : 1,
                             .nodes = node_of_rank_.back() + 1,
                             .devices = ranks.size()};
  std::size_t moe_layer = 0;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    Layer& layer = layers_.emplace_back();
    if (!config.is_moe_layer(i)) continue;
    std::vector<double> load(static_cast<std::size_t>(config.n_routed_experts), 1.0);
    if (!counts.empty()) std::ranges::copy(counts[moe_layer++], load.begin());
    layer = make_layer(load, shape);
  }
}

PlacedExperts::Layer PlacedExperts::make_layer(std::span<const double> load,
                                               const PlacementShape& shape) const {
  Layer layer{place_experts(load, shape), {}};
  layer.experts.resize(load.size());
  const std::int64_t each = shape.slots / shape.devices;
  for (std::int64_t slot = 0; slot < shape.slots; ++slot) {
    const std::int32_t expert = layer.placement.expert_of_slot[static_cast<std::size_t>(slot)];
    Expert& place = layer.experts[static_cast<std::size_t>(expert)];
    place.slots.push_back(static_cast<std::int32_t>(slot));
    place.rank_of_copy.push_back(static_cast<std::int32_t>(slot / each));
  }
  for (std::size_t e = 0; e < layer.experts.size(); ++e) {
    Expert& place = layer.experts[e];
    if (place.slots.size() > 1)
      place.turns = std::make_unique<CopyTurns>(place.slots.size(), e + static_cast<std::size_t>(rank_));
  }
  return layer;
}

const PlacedExperts::Layer& PlacedExperts::at(std::int64_t layer) const {
  const Layer& found = layers_.at(static_cast<std::size_t>(layer));
  require(!found.experts.empty(), "layer {} has no routed experts", layer);
  return found;
}

const ExpertPlacement& PlacedExperts::placement(std::int64_t layer) const {
  return at(layer).placement;
}

bool PlacedExperts::holds(std::int64_t layer, std::int64_t expert) const {
  return std::ranges::count(at(layer).experts.at(static_cast<std::size_t>(expert)).rank_of_copy, rank_) > 0;
}

void PlacedExperts::expect_tokens(std::span<const std::int64_t> tokens) {
  require(tokens.size() == tokens_.size(), "numbers of tokens of {} ranks, and there are {}", tokens.size(),
          tokens_.size());
  if (std::ranges::equal(tokens, tokens_)) return;
  tokens_.assign(tokens.begin(), tokens.end());
  for (Layer& layer : layers_)
    for (Expert& expert : layer.experts) expert.shares.clear();
}

std::int32_t PlacedExperts::slot_for_next_token(Expert& expert) const {
  if (!expert.turns) return expert.slots.front();
  if (expert.shares.empty()) expert.shares = copy_shares(rank_, tokens_, node_of_rank_, expert.rank_of_copy);
  return expert.slots[expert.turns->next(expert.shares)];
}

std::shared_ptr<ExpertRoute> PlacedExperts::route(std::int64_t layer, const Routing& routing) {
  Layer& here = layers_.at(static_cast<std::size_t>(layer));
  ExpertChoices places = choices_of(routing);
  for (std::int32_t& place : places.experts)
    place = slot_for_next_token(here.experts.at(static_cast<std::size_t>(place)));
  return way_.route(places, here.placement.expert_of_slot);
}

}  // namespace fathom
