#pragma once

#include <cstdint>

#include "plan/hardware.h"

namespace fathom {

/// Ranks that talk to one another: `size` of them, each `stride` devices after the one before. Devices are
/// numbered in the order of the network: those of a node, of a leaf, of a pod follow one another.
struct RankGroup {
  std::int64_t size = 1;
  std::int64_t stride = 1;

  /// How many of them lie among so many devices that follow one another.
  [[nodiscard]] std::int64_t among(std::int64_t devices) const;
  /// Devices from the first to the last.
  [[nodiscard]] std::int64_t span() const { return (size - 1) * stride + 1; }
};

/// Throws `Error` where the network does not join so many devices.
void require_joined(const Hardware& hardware, std::int64_t devices);

/// Seconds in which every rank sends `bytes` to the next one, all at once, as the ranks of a pipeline do.
/// What leaves a leaf or pod shares its uplinks, which carry 1/oversubscription of what all its devices can
/// send; but of ranks in the order of the network only the last in each sends across.
double neighbour_seconds(const Hardware& hardware, const RankGroup& group, double bytes);

/// Seconds of one reduce-scatter or all-gather over a group.
struct RingSeconds {
  double total = 0;
  double latency = 0;        // of it
  bool is_by_nodes = false;  // rings inside nodes, then over them; else one ring over all ranks

  RingSeconds& operator+=(const RingSeconds& other);
};

/// The faster of two ways, each rank holding `bytes` before (reduce-scatter) or after (all-gather):
///  - one ring: bytes (n-1)/n over links inside nodes and between them at the same time, n-1 steps;
///  - by nodes: m ranks of a node among themselves in m-1 steps, then each its m-th part with those of its
///    place in the other N nodes in N-1 steps.
/// Either way a node's m links to the network share what leaves it. The latency of every step over the
/// network is that of the highest level the group reaches, as the slowest step holds up the others.
RingSeconds ring_seconds(const Hardware& hardware, const RankGroup& group, double bytes);

/// Seconds of an all-to-all over a group: what each rank sends to other nodes, evenly over them, and inside
/// its node (there also what it hands on), at the same time. Messages to all peers leave side by side, so
/// that one latency of each kind of link is paid. Of what leaves a node, the part that goes beyond a leaf or
/// pod is slowed by its oversubscription.
double all_to_all_seconds(const Hardware& hardware, const RankGroup& group, double network_bytes,
                          double node_bytes);

}  // namespace fathom
