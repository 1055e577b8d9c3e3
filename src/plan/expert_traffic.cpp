#include "plan/expert_traffic.h"

#include <algorithm>
#include <cmath>

#include "numerics/tile_scale.h"

namespace fathom {

ExpertTraffic expert_traffic(const ModelConfig& config, int ep, int devices_per_node, Precision precision) {
  ExpertTraffic traffic;
  if (ep <= 1 || config.n_routed_experts == 0) return traffic;
  const double nodes = std::ceil(static_cast<double>(ep) / devices_per_node);
  const double devices = std::min(ep, devices_per_node);  // of the group, on one node
  const auto experts = static_cast<double>(config.num_experts_per_tok);
  // Groups of experts lie side by side, several on a node or one over several.
  const double allowed =
      static_cast<double>(config.topk_group) * std::ceil(nodes / static_cast<double>(config.n_group));
  const double reached = std::min(experts, std::min(nodes, allowed));
  traffic.remote_nodes = reached * (nodes - 1) / nodes;  // one of them may be the token's own
  const double handed_on = experts * (devices - 1) / devices;

  const auto hidden = static_cast<double>(config.hidden_size);
  const double wide = hidden * (precision == Precision::f32 ? sizeof(float) : 2);
  const double scales = static_cast<double>(scale_blocks(config.hidden_size)) * sizeof(float);
  const double narrow = precision == Precision::fp8 ? hidden + scales : wide;
  traffic.network_dispatch = traffic.remote_nodes * narrow;
  traffic.network_combine = traffic.remote_nodes * wide;
  traffic.node_dispatch = handed_on * narrow;
  traffic.node_combine = handed_on * wide;
  return traffic;
}

double traffic_seconds(const ExpertTraffic& traffic, double tokens, const RankGroup& group,
                       const Hardware& hardware) {
  return all_to_all_seconds(hardware, group, tokens * traffic.network_dispatch,
                            tokens * traffic.node_dispatch) +
         all_to_all_seconds(hardware, group, tokens * traffic.network_combine, tokens * traffic.node_combine);
}

}  // namespace fathom
