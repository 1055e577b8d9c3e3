#include "train/parallel_layout.h"

#include "base/error.h"
#include "dist/expert_exchange.h"

namespace fathom {

void check_layout(const ParallelLayout& layout, const ModelConfig& config) {
  require(layout.expert_parallel >= 1, "an expert-parallel size of {}: it is at least 1",
          layout.expert_parallel);
  require(layout.ranks % layout.expert_parallel == 0,
          "experts over {} processes do not fit {} processes: choose a size that divides them",
          layout.expert_parallel, layout.ranks);
  if (layout.expert_parallel == 1) return;
  require(config.n_routed_experts > 0, "the model has no routed experts to share out: leave out {}",
          "--expert-parallel");
  expert_share(config.n_routed_experts, 0, layout.expert_parallel);
}

namespace {

bool holds(const ParallelLayout& layout, const ModelConfig& config, const ParameterSpec& spec, int rank) {
  if (spec.expert < 0 || layout.expert_parallel == 1) return true;
  const ExpertShare share =
      expert_share(config.n_routed_experts, rank % layout.expert_parallel, layout.expert_parallel);
  return spec.expert >= share.begin && spec.expert < share.end;
}

}  // namespace

std::vector<int> holders_of(const ParallelLayout& layout, const ModelConfig& config,
                            const ParameterSpec& spec) {
  std::vector<int> holders;
  for (int rank = 0; rank < layout.ranks; ++rank)
    if (holds(layout, config, spec, rank)) holders.push_back(rank);
  return holders;
}

RowsKept rows_on(const ParallelLayout& layout, const ModelConfig& config, int rank) {
  return [layout, config, rank](const ParameterSpec& spec) {
    return holds(layout, config, spec, rank) ? spec.shape.front() : 0;
  };
}

}  // namespace fathom
