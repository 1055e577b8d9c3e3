#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// Adds runs of a job's items, [begin, end) of all, by the memory nodes that their weights lie on. Weights of
/// a job lie node by node, so that each run's end is found by halving.
/// @param from  see `for_all_items`, of this job
template <typename From>
void add_node_runs(const Residence& residence, std::int64_t begin, std::int64_t end, const From& from,
                   std::vector<NodeItems>& runs) {
  const auto node_of = [&](std::int64_t item) { return residence.node_of(from(item)).value_or(0); };
  for (std::int64_t at = 0; at < end - begin;) {
    const std::size_t node = node_of(at);
    std::int64_t known = at;            // on the node
    std::int64_t beyond = end - begin;  // not, or the end
    if (node_of(beyond - 1) == node) known = beyond - 1;
    while (beyond - known > 1) {
      const std::int64_t middle = known + (beyond - known) / 2;
      (node_of(middle) == node ? known : beyond) = middle;
    }
    runs.push_back({static_cast<std::size_t>(begin + at), static_cast<std::size_t>(begin + beyond), node});
    at = beyond;
  }
}

/// Calls `work(job, item)` for every item of every job, `items(job)` of them, in one parallel region.
/// @param from  (job, item): where the weights that an item reads begin. On a machine with several memory
///              nodes, where it is known which of them has what, threads of that node take the item
template <typename Items, typename From, typename Work>
void for_all_items(ThreadPool& pool, std::size_t jobs, const Items& items, const From& from,
                   const Work& work) {
  std::vector<std::int64_t> ends(jobs);
  std::int64_t total = 0;
  for (std::size_t job = 0; job < jobs; ++job) ends[job] = total += items(job);
  const auto item_of_all = [&](std::size_t index) {
    const auto item = static_cast<std::int64_t>(index);
    const auto job =
        static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), item) - ends.begin());
    work(job, item - (job == 0 ? 0 : ends[job - 1]));
  };
  if (pool.residence() == nullptr || pool.nodes() == 1) {
    pool.parallel_for(static_cast<std::size_t>(total), item_of_all);
    return;
  }
  std::vector<NodeItems> runs;
  for (std::size_t job = 0; job < jobs; ++job)
    add_node_runs(
        *pool.residence(), job == 0 ? 0 : ends[job - 1], ends[job],
        [&](std::int64_t item) { return from(job, item); }, runs);
  pool.parallel_for(runs, item_of_all);
}

/// Pieces of at most `piece` that `size` is cut into.
constexpr std::int64_t pieces(std::int64_t size, std::int64_t piece) {
  return (size + piece - 1) / piece;
}

}  // namespace fathom::kernels
