#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

/// Tokens that went to each expert, [MoE layers of the main model][n_routed_experts]; empty: none yet.
using ExpertCounts = std::vector<std::vector<std::int64_t>>;

/// sum += counts, where either may have none yet.
inline void add_counts(const ExpertCounts& counts, ExpertCounts& sum) {
  if (sum.size() < counts.size()) sum.resize(counts.size());
  for (std::size_t layer = 0; layer < counts.size(); ++layer) {
    if (sum[layer].size() < counts[layer].size()) sum[layer].resize(counts[layer].size());
    for (std::size_t e = 0; e < counts[layer].size(); ++e) sum[layer][e] += counts[layer][e];
  }
}

}  // namespace fathom
