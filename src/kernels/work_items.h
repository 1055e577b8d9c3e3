#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// Calls `work(job, item)` for every item of every job, `items(job)` of them, in one parallel region.
template <typename Items, typename Work>
void for_all_items(ThreadPool& pool, std::size_t jobs, const Items& items, const Work& work) {
  std::vector<std::int64_t> ends(jobs);
  std::int64_t total = 0;
  for (std::size_t job = 0; job < jobs; ++job) ends[job] = total += items(job);
  pool.parallel_for(static_cast<std::size_t>(total), [&](std::size_t index) {
    const auto item = static_cast<std::int64_t>(index);
    const auto job =
        static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), item) - ends.begin());
    work(job, item - (job == 0 ? 0 : ends[job - 1]));
  });
}

/// Pieces of at most `piece` that `size` is cut into.
constexpr std::int64_t pieces(std::int64_t size, std::int64_t piece) {
  return (size + piece - 1) / piece;
}

}  // namespace fathom::kernels
