#include "infer/numa_plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/progress.h"

namespace fathom {
namespace {

/// The nodes that a policy is about.
std::vector<NumaNode> chosen_nodes(const Topology& topology, const NumaChoice& choice) {
  if (choice.policy != NumaPolicy::one_node) return topology.nodes;
  for (const NumaNode& node : topology.nodes)
    if (node.number == choice.node) return {node};
  std::string there;
  for (const NumaNode& node : topology.nodes)
    there += fmt::format("{}{}", there.empty() ? "" : ", ", node.number);
  throw UsageError(fmt::format("--numa node:{}: there is no such node; there are {}", choice.node, there));
}

/// Processing units in the order in which threads take them: of each core the first, then the second ones.
std::vector<unsigned> units_by_turns(const NumaNode& node) {
  std::vector<unsigned> units;
  for (std::size_t turn = 0;; ++turn) {
    const std::size_t before = units.size();
    for (const std::vector<unsigned>& core : node.cores)
      if (turn < core.size()) units.push_back(core[turn]);
    if (units.size() == before) return units;
  }
}

/// Deals threads out one by one, each to the node that has fewest for its cores.
std::vector<std::size_t> threads_of(const std::vector<NumaNode>& nodes, std::size_t threads) {
  std::vector<std::size_t> counts(nodes.size(), 0);
  const auto load = [&](std::size_t n) {
    return static_cast<double>(counts[n] + 1) / static_cast<double>(nodes[n].cores.size());
  };
  for (std::size_t thread = 0; thread < threads; ++thread) {
    std::size_t best = 0;
    for (std::size_t n = 1; n < nodes.size(); ++n)
      if (load(n) < load(best)) best = n;
    ++counts[best];
  }
  return counts;
}

std::size_t count_cores(const std::vector<NumaNode>& nodes) {
  std::size_t cores = 0;
  for (const NumaNode& node : nodes) cores += node.cores.size();
  return cores;
}

void place_threads(const std::vector<NumaNode>& nodes, std::size_t threads, NumaPlan& plan) {
  if (threads == 0) threads = count_cores(nodes);
  const std::vector<std::size_t> counts = threads_of(nodes, threads);
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    if (counts[n] == 0) {
      plan.warnings.push_back(
          fmt::format("node {} has no thread and is left out: give more --threads", nodes[n].number));
      continue;
    }
    NumaShare share{nodes[n].number, nodes[n].memory, {}, {}, 0, 0};
    const std::vector<unsigned> units = units_by_turns(nodes[n]);
    for (std::size_t t = 0; t < counts[n]; ++t) share.threads.push_back({units[t % units.size()]});
    if (counts[n] > units.size())
      plan.warnings.push_back(
          fmt::format("node {} has {} threads on {} processing units: give fewer --threads", nodes[n].number,
                      counts[n], units.size()));
    plan.nodes.push_back(std::move(share));
  }
  const auto fewer = [](const NumaShare& a, const NumaShare& b) {
    return a.threads.size() < b.threads.size();
  };
  const auto [least, most] = std::ranges::minmax_element(plan.nodes, fewer);
  if (least->threads.size() != most->threads.size())
    plan.warnings.push_back(fmt::format(
        "threads are uneven: node {} has {}, node {} has {}; weights are split in that proportion",
        least->node, least->threads.size(), most->node, most->threads.size()));
}

/// How likely a token uses an expert, times how many it uses of all.
class ExpertUse {
 public:
  ExpertUse(const ModelConfig& config, const ExpertCounts* counts) : config_(config), counts_(counts) {
    std::size_t moe_layer = 0;
    const std::int64_t layers = config.num_hidden_layers + config.num_nextn_predict_layers;
    for (std::int64_t layer = 0; layer < layers; ++layer)
      moe_layer_of_.push_back(config.is_moe_layer(layer) ? moe_layer++ : 0);
  }

  [[nodiscard]] double rate(std::int64_t layer, std::int64_t expert) const {
    const auto all = static_cast<double>(config_.n_routed_experts);
    const auto chosen = static_cast<double>(config_.num_experts_per_tok);
    const std::size_t row = moe_layer_of_[static_cast<std::size_t>(layer)];
    if (counts_ == nullptr || row >= counts_->size()) return chosen / all;
    const auto& counts = (*counts_)[row];
    const auto tokens = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
    if (tokens == 0) return chosen / all;
    // One that nobody used yet may still be used.
    return chosen * (static_cast<double>(counts[static_cast<std::size_t>(expert)]) + 1.0) / (tokens + all);
  }

 private:
  const ModelConfig& config_;
  const ExpertCounts* counts_;
  std::vector<std::size_t> moe_layer_of_;  // [layers]
};

/// Gives a layer's experts away. @param bytes  expected of each, in one step
std::vector<std::size_t> spread(const std::vector<double>& bytes, const std::vector<NumaShare>& nodes) {
  std::vector<std::size_t> order(bytes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return bytes[a] > bytes[b]; });
  std::vector<double> loads(nodes.size(), 0.0);
  std::vector<std::size_t> node_of(bytes.size());
  for (const std::size_t expert : order) {
    const auto after = [&](std::size_t n) {
      return (loads[n] + bytes[expert]) / static_cast<double>(nodes[n].threads.size());
    };
    std::size_t best = 0;
    for (std::size_t n = 1; n < nodes.size(); ++n)
      if (after(n) < after(best)) best = n;
    loads[best] += bytes[expert];
    node_of[expert] = best;
  }
  return node_of;
}

void place_experts(const NumaModel& model, const ExpertUse& use, NumaPlan& plan) {
  const auto layers =
      static_cast<std::size_t>(model.config.num_hidden_layers + model.config.num_nextn_predict_layers);
  std::vector<std::vector<double>> bytes(layers);
  for (const WeightSize& weight : model.weights) {
    if (weight.expert < 0) continue;
    std::vector<double>& own = bytes[static_cast<std::size_t>(weight.layer)];
    own.resize(static_cast<std::size_t>(model.config.n_routed_experts));
    own[static_cast<std::size_t>(weight.expert)] +=
        static_cast<double>(weight.bytes) * use.rate(weight.layer, weight.expert);
  }
  std::vector<std::int64_t> first_layer;  // that has experts: how many each node got
  for (const std::vector<double>& own : bytes) {
    plan.expert_nodes.push_back(spread(own, plan.nodes));
    if (own.empty() || !first_layer.empty()) continue;
    first_layer.resize(plan.nodes.size());
    for (const std::size_t node : plan.expert_nodes.back()) ++first_layer[node];
  }
  if (!first_layer.empty()) plan.most_experts_on_a_node = mean_of_most(first_layer, plan.experts_per_token);
}

/// Adds up what each node has and reads.
void count_bytes(const NumaModel& model, const ExpertUse& use, NumaPlan& plan) {
  const std::size_t count = plan.nodes.size();
  std::vector<double> steps(count, 0.0);
  const auto add = [&](std::size_t n, const WeightSize& weight, std::uint64_t bytes, double read) {
    plan.nodes[n].weight_bytes[static_cast<std::size_t>(weight.part)] += bytes;
    steps[n] += read;
  };
  const auto share_before = [&](std::size_t n, std::uint64_t of) {
    return static_cast<std::uint64_t>(plan.rows_before(n, static_cast<std::int64_t>(of)));
  };
  const bool has_copies = plan.choice.policy == NumaPolicy::mirror;
  for (const WeightSize& weight : model.weights) {
    double read = weight.is_read_each_step ? static_cast<double>(weight.bytes) : 0.0;
    if (weight.expert >= 0) read *= use.rate(weight.layer, weight.expert);
    const std::optional<std::size_t> owner =
        weight.expert < 0 ? std::nullopt : plan.node_of_expert(weight.layer, weight.expert);
    for (std::size_t n = 0; n < count; ++n) {
      if (owner && *owner != n) continue;
      const std::uint64_t part =
          owner ? weight.bytes : share_before(n + 1, weight.bytes) - share_before(n, weight.bytes);
      add(n, weight, has_copies ? weight.bytes : part,
          weight.bytes == 0 ? 0.0 : read * static_cast<double>(part) / static_cast<double>(weight.bytes));
    }
  }
  for (std::size_t n = 0; n < count; ++n) {
    NumaShare& share = plan.nodes[n];
    share.cache_bytes = model.cache_bytes * (n + 1) / count - model.cache_bytes * n / count;
    steps[n] += static_cast<double>(share.cache_bytes);
  }
  const double all = std::accumulate(steps.begin(), steps.end(), 0.0);
  for (std::size_t n = 0; n < count; ++n) plan.nodes[n].step_share = all > 0 ? steps[n] / all : 0.0;
}

void check_memory(NumaPlan& plan) {
  bool is_known = true;
  for (const NumaShare& share : plan.nodes) {
    is_known = is_known && share.memory > 0;
    if (share.memory == 0 || share.bytes() <= share.memory) continue;
    const std::string lacks =
        fmt::format("node {} would hold {} of weights and {} of cache in its {}: {} bytes are missing",
                    share.node, format_bytes(share.all_weight_bytes()), format_bytes(share.cache_bytes),
                    format_bytes(share.memory), format_count(share.bytes() - share.memory));
    if (plan.choice.policy != NumaPolicy::distribute)
      fail("--numa {}: {}; distribute takes each weight once", numa_choice_text(plan.choice), lacks);
    plan.warnings.push_back(lacks);
  }
  if (!is_known)
    plan.warnings.emplace_back("the memory of nodes is not known, and whether it suffices not checked");
}

}  // namespace

std::optional<NumaChoice> numa_choice_of(std::string_view text) {
  if (text == "off") return NumaChoice{};
  if (text == "distribute") return NumaChoice{NumaPolicy::distribute};
  if (text == "mirror") return NumaChoice{NumaPolicy::mirror};
  constexpr std::string_view kOne = "node:";
  if (!text.starts_with(kOne)) return std::nullopt;
  text.remove_prefix(kOne.size());
  NumaChoice choice{NumaPolicy::one_node};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), choice.node);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return choice;
}

std::string numa_choice_text(const NumaChoice& choice) {
  switch (choice.policy) {
    case NumaPolicy::off:
      return "off";
    case NumaPolicy::distribute:
      return "distribute";
    case NumaPolicy::mirror:
      return "mirror";
    case NumaPolicy::one_node:
      return fmt::format("node:{}", choice.node);
  }
  return "off";
}

std::uint64_t NumaShare::all_weight_bytes() const {
  return std::accumulate(weight_bytes.begin(), weight_bytes.end(), std::uint64_t{0});
}

std::size_t NumaPlan::threads() const {
  std::size_t all = 0;
  for (const NumaShare& share : nodes) all += share.threads.size();
  return all;
}

std::int64_t NumaPlan::rows_before(std::size_t node, std::int64_t rows) const {
  std::size_t before = 0;
  for (std::size_t n = 0; n < node; ++n) before += nodes[n].threads.size();
  // Not rows · part / all, which overflows where bytes of large models are split.
  const auto all = static_cast<std::int64_t>(threads());
  const auto part = static_cast<std::int64_t>(before);
  return rows / all * part + rows % all * part / all;
}

std::optional<std::size_t> NumaPlan::node_of_expert(std::int64_t layer, std::int64_t expert) const {
  if (layer < 0 || static_cast<std::size_t>(layer) >= expert_nodes.size()) return std::nullopt;
  const std::vector<std::size_t>& own = expert_nodes[static_cast<std::size_t>(layer)];
  if (static_cast<std::size_t>(expert) >= own.size()) return std::nullopt;
  return own[static_cast<std::size_t>(expert)];
}

NumaPlan plan_numa(const Topology& topology, const NumaChoice& choice, std::size_t threads,
                   const NumaModel& model) {
  require(choice.policy != NumaPolicy::off, "nothing is planned with --numa off");
  NumaPlan plan;
  plan.choice = choice;
  plan.machine_nodes = topology.nodes.size();
  plan.experts_per_token = model.config.num_experts_per_tok;
  place_threads(chosen_nodes(topology, choice), threads, plan);
  const ExpertUse use(model.config, model.usage);
  if (choice.policy == NumaPolicy::distribute && plan.nodes.size() > 1) place_experts(model, use, plan);
  count_bytes(model, use, plan);
  check_memory(plan);
  return plan;
}

double mean_of_most(const std::vector<std::int64_t>& urns, std::int64_t drawn) {
  const std::int64_t all = std::accumulate(urns.begin(), urns.end(), std::int64_t{0});
  const auto ways = [](std::int64_t of, std::int64_t taken) {  // ln of the binomial coefficient
    return std::lgamma(of + 1.0) - std::lgamma(taken + 1.0) - std::lgamma(of - taken + 1.0);
  };
  // E[most] = sum over m of P(most > m), where P(most <= m) counts draws of at most m from each urn.
  double mean = 0;
  for (std::int64_t most = 0; most < drawn; ++most) {
    std::vector<double> draws(static_cast<std::size_t>(drawn) + 1, 0.0);  // by balls drawn, of all ways
    draws[0] = 1.0;
    for (const std::int64_t urn : urns) {
      std::vector<double> with(draws.size(), 0.0);
      for (std::size_t before = 0; before < draws.size(); ++before)
        for (std::int64_t own = 0; own <= std::min(most, urn); ++own)
          if (before + static_cast<std::size_t>(own) < draws.size())
            with[before + static_cast<std::size_t>(own)] += draws[before] * std::exp(ways(urn, own));
      draws = std::move(with);
    }
    mean += 1.0 - draws.back() / std::exp(ways(all, drawn));
  }
  return mean;
}

}  // namespace fathom
