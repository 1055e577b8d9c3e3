#include "plan/network.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"

namespace fathom {
namespace {

/// The levels that messages of the group go through; none where it lies on one node.
std::span<const NetworkLevel> levels_reached(const Hardware& hardware, const RankGroup& group) {
  if (group.span() <= hardware.devices_per_node) return {};
  const std::span<const NetworkLevel> levels = hardware.network_levels;
  const auto last =
      std::ranges::find_if(levels, [&](const NetworkLevel& level) { return group.span() <= level.devices; });
  const auto count = static_cast<std::size_t>(last - levels.begin());
  return levels.first(std::min(count + 1, levels.size()));
}

double node_rate(const Hardware& hardware) {
  return hardware.node_bandwidth * hardware.efficiency.node_links;
}

double network_rate(const Hardware& hardware) {
  return hardware.network_bandwidth * hardware.efficiency.network_links;
}

/// The largest of `load(ranks on one piece of the level below, oversubscription)`.
template <class Load>
double heaviest(const Hardware& hardware, const RankGroup& group, const Load& load) {
  double most = 0;
  std::int64_t below = hardware.devices_per_node;
  for (const NetworkLevel& level : levels_reached(hardware, group)) {
    most = std::max(most, load(static_cast<double>(group.among(below)), level.oversubscription));
    below = level.devices;
  }
  return most;
}

}  // namespace

std::int64_t RankGroup::among(std::int64_t devices) const {
  return std::clamp<std::int64_t>(devices / stride, 1, size);
}

void require_joined(const Hardware& hardware, std::int64_t devices) {
  const std::int64_t joined =
      hardware.network_levels.empty() ? hardware.devices_per_node : hardware.network_levels.back().devices;
  require(devices <= joined,
          "the network of {} joins {} devices, not {}: add a level to \"network_levels\" of its file",
          hardware.name, joined, devices);
}

double neighbour_seconds(const Hardware& hardware, const RankGroup& group, double bytes) {
  const auto levels = levels_reached(hardware, group);
  if (levels.empty()) return hardware.node_latency + bytes / node_rate(hardware);
  const double load = heaviest(hardware, group, [](double ranks, double oversubscription) {
    return std::max(1.0, oversubscription / ranks);
  });
  return levels.back().latency + bytes * load / network_rate(hardware);
}

RingSeconds& RingSeconds::operator+=(const RingSeconds& other) {
  total += other.total;
  latency += other.latency;
  is_by_nodes = is_by_nodes || other.is_by_nodes;
  return *this;
}

RingSeconds ring_seconds(const Hardware& hardware, const RankGroup& group, double bytes) {
  if (group.size <= 1) return {};
  const auto part = [](double ranks) { return (ranks - 1) / ranks; };
  const auto ranks = static_cast<double>(group.size);
  const auto on_node = static_cast<double>(group.among(hardware.devices_per_node));
  const auto levels = levels_reached(hardware, group);
  if (levels.empty()) {
    const double latency = (ranks - 1) * hardware.node_latency;
    return {bytes * part(ranks) / node_rate(hardware) + latency, latency, false};
  }
  const double nodes = std::ceil(ranks / on_node);
  // A ring leaves every node, leaf and pod once, over the links of all its ranks there.
  const double load = heaviest(
      hardware, group, [](double there, double oversubscription) { return oversubscription / there; });
  const double network = bytes * load / network_rate(hardware);
  const double inside = on_node > 1 ? bytes / node_rate(hardware) : 0;

  const double step = levels.back().latency;
  const double flat_latency = (ranks - 1) * step;
  const RingSeconds flat = {std::max(network, inside) * part(ranks) + flat_latency, flat_latency, false};
  if (on_node == 1) return flat;
  const double by_nodes_latency = (on_node - 1) * hardware.node_latency + (nodes - 1) * step;
  const RingSeconds by_nodes = {inside * part(on_node) + network * part(nodes) + by_nodes_latency,
                                by_nodes_latency, true};
  return by_nodes.total < flat.total ? by_nodes : flat;
}

double all_to_all_seconds(const Hardware& hardware, const RankGroup& group, double network_bytes,
                          double node_bytes) {
  if (group.size <= 1) return 0;
  const double inside = node_bytes / node_rate(hardware);
  const auto levels = levels_reached(hardware, group);
  if (levels.empty()) return inside + hardware.node_latency;
  const auto ranks = static_cast<double>(group.size);
  const auto on_node = static_cast<double>(group.among(hardware.devices_per_node));
  const double load = heaviest(hardware, group, [&](double there, double oversubscription) {
    return oversubscription * (ranks - there) / (ranks - on_node);
  });
  return std::max(network_bytes * load / network_rate(hardware), inside) + levels.back().latency +
         (node_bytes > 0 ? hardware.node_latency : 0);
}

}  // namespace fathom
