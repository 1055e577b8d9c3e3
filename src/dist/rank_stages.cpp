#include "dist/rank_stages.h"

#include <algorithm>

#include "dist/compute_order.h"

namespace fathom {

std::vector<std::vector<std::size_t>> stages_of_ranks(const PipelineShape& shape) {
  std::vector<std::vector<std::size_t>> ranks(static_cast<std::size_t>(shape.ranks()));
  for (std::int32_t stage = 0; stage < shape.stages; ++stage)
    // A stage that lies twice does so for the first and the last micro-batch.
    for (const std::int32_t micro_batch : {0, shape.micro_batches - 1}) {
      auto& held = ranks[static_cast<std::size_t>(shape.rank_of(stage_batch(stage, micro_batch)))];
      const auto number = static_cast<std::size_t>(stage);
      if (std::ranges::find(held, number) == held.end()) held.push_back(number);
    }
  return ranks;
}

}  // namespace fathom
