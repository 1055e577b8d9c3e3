#include "infer/numa_report.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/progress.h"

namespace fathom {
namespace {

std::string gigabytes(std::uint64_t bytes) {
  return fmt::format("{:.2f}", static_cast<double>(bytes) * 1e-9);
}

}  // namespace

std::string numa_plan_text(const NumaPlan& plan) {
  std::string text = fmt::format("numa {}: {} node(s), {} threads; GB of memory\n",
                                 numa_choice_text(plan.choice), plan.nodes.size(), plan.threads());
  text += fmt::format("{:>4} {:>7} {:>9}", "node", "threads", "has");
  for (std::size_t part = 0; part < kWeightParts; ++part)
    text += fmt::format(" {:>15}", weight_part_name(static_cast<WeightPart>(part)));
  text += fmt::format(" {:>8} {:>9} {:>9}\n", "cache", "all", "of a step");
  for (const NumaShare& share : plan.nodes) {
    text += fmt::format("{:>4} {:>7} {:>9}", share.node, share.threads.size(),
                        share.memory > 0 ? gigabytes(share.memory) : "?");
    for (const std::uint64_t bytes : share.weight_bytes) text += fmt::format(" {:>15}", gigabytes(bytes));
    text += fmt::format(" {:>8} {:>9} {:>7.1f} %\n", gigabytes(share.cache_bytes), gigabytes(share.bytes()),
                        100 * share.step_share);
  }
  if (plan.most_experts_on_a_node > 0)
    text += fmt::format(
        "of a token's {} experts in a layer, {:.2f} on average lie on the node with most of them\n",
        plan.experts_per_token, plan.most_experts_on_a_node);
  for (const std::string& warning : plan.warnings) text += fmt::format("warning: {}\n", warning);
  return text;
}

std::string numa_plan_line(const NumaPlan& plan) {
  std::string line = fmt::format("numa {}:", numa_choice_text(plan.choice));
  for (std::size_t n = 0; n < plan.nodes.size(); ++n)
    line += fmt::format("{} {} threads and {} GB on node {}", n == 0 ? "" : ",", plan.nodes[n].threads.size(),
                        gigabytes(plan.nodes[n].bytes()), plan.nodes[n].node);
  return line;
}

OrderedJson numa_plan_json(const NumaPlan& plan) {
  OrderedJson nodes = OrderedJson::array();
  for (const NumaShare& share : plan.nodes) {
    OrderedJson weights;
    for (std::size_t part = 0; part < kWeightParts; ++part)
      weights[weight_part_name(static_cast<WeightPart>(part))] = share.weight_bytes[part];
    nodes.push_back({{"node", share.node},
                     {"memory_bytes", share.memory},
                     {"threads", share.threads},
                     {"weight_bytes", std::move(weights)},
                     {"cache_bytes", share.cache_bytes},
                     {"bytes", share.bytes()},
                     {"step_share", share.step_share}});
  }
  return {{"policy", numa_choice_text(plan.choice)},
          {"nodes", std::move(nodes)},
          {"experts_per_token", plan.experts_per_token},
          {"most_experts_on_a_node", plan.most_experts_on_a_node},
          {"warnings", plan.warnings}};
}

}  // namespace fathom
