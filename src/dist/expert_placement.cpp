#include "dist/expert_placement.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace fathom {
namespace {

using Indices = std::vector<std::int32_t>;

/// Packs of equally many items and weights as even as the greedy choice makes them.
/// @return  [items], pack by pack
Indices pack_evenly(std::span<const double> weight, std::int64_t packs) {
  const std::size_t capacity = weight.size() / static_cast<std::size_t>(packs);
  Indices order(weight.size());
  std::iota(order.begin(), order.end(), 0);
  if (capacity == 1) return order;
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) {
    return weight[static_cast<std::size_t>(a)] > weight[static_cast<std::size_t>(b)];
  });
  std::vector<Indices> items(static_cast<std::size_t>(packs));
  std::vector<double> sums(items.size());
  for (const std::int32_t item : order) {
    std::size_t lightest = items.size();
    for (std::size_t p = 0; p < items.size(); ++p)
      if (items[p].size() < capacity && (lightest == items.size() || sums[p] < sums[lightest])) lightest = p;
    items[lightest].push_back(item);
    sums[lightest] += weight[static_cast<std::size_t>(item)];
  }
  Indices packed;
  for (const Indices& pack : items) packed.insert(packed.end(), pack.begin(), pack.end());
  return packed;
}

struct Copy {
  std::int32_t expert;
  std::int32_t number;
};

/// One copy of each expert, then one more at a time of the one whose copies have most to do.
std::vector<Copy> replicate(std::span<const double> load, std::size_t slots) {
  std::vector<Copy> copies;
  std::vector<std::int32_t> counts(load.size(), 1);
  for (std::size_t e = 0; e < load.size(); ++e) copies.push_back({static_cast<std::int32_t>(e), 0});
  while (copies.size() < slots) {
    std::size_t busiest = 0;
    for (std::size_t e = 1; e < load.size(); ++e)
      if (load[e] / counts[e] > load[busiest] / counts[busiest]) busiest = e;
    copies.push_back({static_cast<std::int32_t>(busiest), counts[busiest]++});
  }
  return copies;
}

/// Fills the slots of one node.
/// @param experts  that the node has
void place_on_node(std::span<const double> load, std::span<const std::int32_t> experts, std::size_t slots,
                   std::int64_t devices, ExpertPlacement& placement) {
  std::vector<double> own;
  for (const std::int32_t expert : experts) own.push_back(load[static_cast<std::size_t>(expert)]);
  const std::vector<Copy> copies = replicate(own, slots);
  std::vector<std::int32_t> counts(experts.size());
  for (const Copy& copy : copies) ++counts[static_cast<std::size_t>(copy.expert)];
  std::vector<double> weight;
  for (const Copy& copy : copies) {
    const auto e = static_cast<std::size_t>(copy.expert);
    weight.push_back(own[e] / counts[e]);
  }
  for (const std::int32_t slot : pack_evenly(weight, devices)) {
    const Copy& copy = copies[static_cast<std::size_t>(slot)];
    const std::int32_t expert = experts[static_cast<std::size_t>(copy.expert)];
    placement.expert_of_slot.push_back(expert);
    placement.copy_of_slot.push_back(copy.number);
    placement.copies[static_cast<std::size_t>(expert)] = counts[static_cast<std::size_t>(copy.expert)];
  }
}

}  // namespace

ExpertPlacement place_experts(std::span<const double> load, const PlacementShape& shape) {
  const auto experts = static_cast<std::int64_t>(load.size());
  require(shape.groups > 0 && shape.nodes > 0 && shape.devices > 0 && experts > 0 &&
              experts % shape.groups == 0 && shape.devices % shape.nodes == 0 &&
              shape.slots % shape.devices == 0 && shape.slots >= experts,
          "{} experts in {} groups cannot be placed in {} slots on {} devices of {} nodes: groups must "
          "divide the "
          "experts, nodes the devices, devices the slots, which must not be fewer than the experts",
          experts, shape.groups, shape.slots, shape.devices, shape.nodes);
  const bool by_node = shape.groups % shape.nodes == 0;
  const std::int64_t nodes = by_node ? shape.nodes : 1;
  const std::int64_t groups = by_node ? shape.groups : 1;
  const std::int64_t group_size = experts / groups;
  std::vector<double> group_load;
  for (std::int64_t g = 0; g < groups; ++g)
    group_load.push_back(
        std::accumulate(load.begin() + g * group_size, load.begin() + (g + 1) * group_size, 0.0));
  Indices order;  // experts, node by node
  for (const std::int32_t group : pack_evenly(group_load, nodes))
    for (std::int64_t i = 0; i < group_size; ++i)
      order.push_back(static_cast<std::int32_t>(group * group_size + i));

  ExpertPlacement placement;
  placement.copies.resize(load.size());
  const auto per_node = static_cast<std::size_t>(experts / nodes);
  for (std::int64_t n = 0; n < nodes; ++n)
    place_on_node(load, std::span(order).subspan(static_cast<std::size_t>(n) * per_node, per_node),
                  static_cast<std::size_t>(shape.slots / nodes), shape.devices / nodes, placement);
  return placement;
}

std::vector<double> device_loads(std::span<const double> load, const ExpertPlacement& placement,
                                 std::int64_t devices) {
  std::vector<double> sums(static_cast<std::size_t>(devices));
  const std::size_t per_device = placement.expert_of_slot.size() / sums.size();
  for (std::size_t slot = 0; slot < placement.expert_of_slot.size(); ++slot) {
    const auto expert = static_cast<std::size_t>(placement.expert_of_slot[slot]);
    sums[slot / per_device] += load[expert] / placement.copies[expert];
  }
  return sums;
}

}  // namespace fathom
