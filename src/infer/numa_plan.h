#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/topology.h"
#include "infer/weight_sizes.h"
#include "model/config.h"
#include "model/expert_counts.h"

namespace fathom {

/// What to do with a machine whose memory belongs to several nodes of cores.
enum class NumaPolicy : std::uint8_t {
  off,         // nothing: threads and memory lie where the system puts them
  distribute,  // each node has its part of the weights, and multiplies with it
  mirror,      // each node has all weights
  one_node,    // a single node has all weights and all threads
};

struct NumaChoice {
  NumaPolicy policy = NumaPolicy::off;
  unsigned node = 0;  // of `one_node`, as the system counts
};

/// "distribute", "mirror", "node:1", "off"; nothing for other texts.
std::optional<NumaChoice> numa_choice_of(std::string_view text);
std::string numa_choice_text(const NumaChoice& choice);

/// What a plan is made for.
struct NumaModel {
  const ModelConfig& config;
  std::vector<WeightSize> weights;      // of each parameter
  std::uint64_t cache_bytes = 0;        // of all sequences, all of which a decoding step reads
  const ExpertCounts* usage = nullptr;  // tokens that used each expert of each MoE layer; null: all alike
};

/// A node's part of a plan.
struct NumaShare {
  unsigned node = 0;                           // as the system counts
  std::uint64_t memory = 0;                    // 0: nobody said
  std::vector<std::vector<unsigned>> threads;  // the processing units that each of them may run on
  std::array<std::uint64_t, kWeightParts> weight_bytes{};
  std::uint64_t cache_bytes = 0;
  double step_share = 0;  // of the bytes that decoding one token reads on average, without drafts

  [[nodiscard]] std::uint64_t all_weight_bytes() const;
  [[nodiscard]] std::uint64_t bytes() const { return all_weight_bytes() + cache_bytes; }
};

/// Where threads, weights and caches go.
struct NumaPlan {
  NumaChoice choice;
  std::vector<NumaShare> nodes;   // those that have threads
  std::size_t machine_nodes = 1;  // those that the machine has
  std::int64_t experts_per_token = 0;
  /// Of these, how many lie on average on the node that has most of them, when they are drawn evenly: the
  /// others' threads help once their own are done, reading across nodes. 0 where experts are not spread.
  double most_experts_on_a_node = 0;
  std::vector<std::string> warnings;

  /// Rows of `rows` that nodes before `node` have of a matrix that is split; `node` may be `nodes.size()`.
  [[nodiscard]] std::int64_t rows_before(std::size_t node, std::int64_t rows) const;
  /// Which of `nodes` has an expert; nothing where every one has, or the layer has none.
  [[nodiscard]] std::optional<std::size_t> node_of_expert(std::int64_t layer, std::int64_t expert) const;
  [[nodiscard]] std::size_t threads() const;

  std::vector<std::vector<std::size_t>> expert_nodes;  // [layers][experts], where they are spread
};

/// Plans a policy, which is not `off`.
///
/// Threads are spread over nodes in proportion to their cores, to each core one before any gets a second.
/// `distribute` splits the rows of matrices in proportion to the nodes' threads, so that a product is
/// computed where its weights lie and no sum crosses nodes, and gives experts away whole, those with most
/// expected bytes first, each to the node with the least for its threads: neighbours, which a router that is
/// limited to groups chooses together, go to different nodes. Caches lie on all nodes by turns.
///
/// Throws `UsageError` where there is no such node, and `Error`, with the bytes that are missing, where
/// `mirror` or `one_node` does not fit a node's memory.
/// @param threads  0: one for each core
NumaPlan plan_numa(const Topology& topology, const NumaChoice& choice, std::size_t threads,
                   const NumaModel& model);

/// Mean of the most that one of several urns gives when `drawn` balls are drawn from all of them together,
/// none twice: how uneven a token's experts lie. @param urns  balls in each
double mean_of_most(const std::vector<std::int64_t>& urns, std::int64_t drawn);

}  // namespace fathom
