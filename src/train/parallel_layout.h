#pragma once

#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// How ranks share a model out. They are numbered so that those which share experts out follow one another:
/// the experts of a layer lie on ranks g · E to g · E + E - 1, for each group g of E = expert_parallel ranks,
/// spread as dist/expert_exchange.h says. All else is on every rank. What a checkpoint holds depends on none
/// of it.
struct ParallelLayout {
  int ranks = 1;
  int expert_parallel = 1;  // divides the ranks

  /// Every rank holds every parameter.
  [[nodiscard]] bool is_replicated() const { return expert_parallel == 1; }
};

/// Throws `Error` where such a layout cannot be, or cannot be of this model.
void check_layout(const ParallelLayout& layout, const ModelConfig& config);

/// The ranks that hold a parameter, ascending.
std::vector<int> holders_of(const ParallelLayout& layout, const ModelConfig& config,
                            const ParameterSpec& spec);

/// All rows of what a rank holds, none of the rest. Keeps no reference.
RowsKept rows_on(const ParallelLayout& layout, const ModelConfig& config, int rank);

}  // namespace fathom
