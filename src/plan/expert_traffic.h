#pragma once

#include "model/config.h"
#include "numerics/precision.h"
#include "plan/network.h"

namespace fathom {

/// What one MoE layer sends to find its experts, and back: for one token, bytes that leave its device, in the
/// forward pass; in the backward pass the gradients take the same ways with the same bytes.
///
/// Node-limited as in the technical report, section 3.2.2: a token crosses the network once for each node
/// that holds some of its experts, and is handed on inside the node to the device of each. Experts are taken
/// as even over the group, and a token's as spread over as many nodes as routing lets them, so that bytes are
/// a bound.
/// Dispatch is FP8 with its scales where training is, and BF16 elsewhere (F32 in f32); combine is BF16.
struct ExpertTraffic {
  double remote_nodes = 0;  // that a token crosses the network to
  double network_dispatch = 0;
  double network_combine = 0;
  double node_dispatch = 0;  // over the links inside nodes
  double node_combine = 0;

  [[nodiscard]] double network_bytes() const { return network_dispatch + network_combine; }
  [[nodiscard]] double node_bytes() const { return node_dispatch + node_combine; }
};
ExpertTraffic expert_traffic(const ModelConfig& config, int ep, int devices_per_node, Precision precision);

/// Seconds of both all-to-alls, dispatch and combine, of so many tokens on each device of a group.
double traffic_seconds(const ExpertTraffic& traffic, double tokens, const RankGroup& group,
                       const Hardware& hardware);

}  // namespace fathom
