#include "train/parallel_layout.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "dist/expert_exchange.h"
#include "dist/stage_layers.h"

namespace fathom {
namespace {

bool holds(const ParallelLayout& layout, const ModelConfig& config, const ParameterSpec& spec, int rank) {
  if (layout.has_pipeline()) {
    const std::vector<LayerRun>& runs = layout.layers[static_cast<std::size_t>(layout.place_of(rank))];
    if (std::ranges::none_of(runs, [&](const LayerRun& run) { return run.uses(config, spec); })) return false;
  }
  const int experts = layout.options.experts;
  if (spec.expert < 0 || experts == 1) return true;
  const ExpertShare share = expert_share(config.n_routed_experts, layout.replica_of(rank) % experts, experts);
  return spec.expert >= share.begin && spec.expert < share.end;
}

}  // namespace

ParallelLayout make_layout(int ranks, const ParallelOptions& options, const ModelConfig& config) {
  require(options.pipeline >= 1 && options.experts >= 1 && options.context >= 1,
          "a pipeline of {} ranks, experts over {}, sequences over {}: take 1 or more", options.pipeline,
          options.experts, options.context);
  require(ranks % options.pipeline == 0,
          "a pipeline of {} processes does not fit {} processes: choose a size that divides them",
          options.pipeline, ranks);
  ParallelLayout layout{ranks, options, {}};
  require(layout.replicas() % options.experts == 0,
          "experts over {} processes do not fit {} processes{}: choose a size that divides them",
          options.experts, layout.replicas(), options.pipeline > 1 ? " at each place of the pipeline" : "");
  require(layout.replicas() % options.context == 0,
          "sequences over {} processes do not fit {} processes{}: choose a size that divides them",
          options.context, layout.replicas(), options.pipeline > 1 ? " at each place of the pipeline" : "");
  if (options.experts > 1) {
    require(config.n_routed_experts > 0, "the model has no routed experts to share out over {} processes",
            options.experts);
    expert_share(config.n_routed_experts, 0, options.experts);
  }
  if (options.pipeline > 1) layout.layers = layers_of_ranks(config, pipeline_shape(options, 1));
  return layout;
}

PipelineShape pipeline_shape(const ParallelOptions& options, std::int64_t micro_batches) {
  PipelineShape shape{.kind = options.schedule,
                      .stages = options.pipeline,
                      .micro_batches = 1,
                      .stages_per_rank = options.stages_per_rank};
  if (shape.kind == PipelineKind::interleaved) shape.stages *= options.stages_per_rank;
  if (shape.kind == PipelineKind::dualpipe_v) shape.stages *= 2;
  const std::int64_t count =
      fitting_micro_batches(shape.kind, shape.stages, std::max(micro_batches, std::int64_t{1}));
  require(count <= std::numeric_limits<std::int16_t>::max(),
          "{} micro-batches in a step of a pipeline: raise training.micro_batch_size", count);
  shape.micro_batches = static_cast<std::int32_t>(count);
  check_shape(shape);
  return shape;
}

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
