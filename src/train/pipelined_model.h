#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "dist/communicator.h"
#include "model/batch.h"
#include "model/config.h"
#include "model/context.h"
#include "model/losses.h"
#include "model/stage.h"
#include "model/weights.h"
#include "train/model_pipeline.h"
#include "train/parallel_layout.h"

namespace fathom {

/// One rank's part of a model in a pipeline, for steps of any number of micro-batches: a schedule for each
/// number, made and checked when it is first met.
class PipelinedModel {
 public:
  /// Keeps references. All ranks of the pipeline make one, and call the same.
  /// @param ranks  of this pipeline, in the order of their places
  PipelinedModel(const ModelConfig& config, const TransformerWeights& weights, std::int64_t max_positions,
                 const ParallelOptions& options, Communicator& ranks)
      : config_(config), weights_(weights), max_positions_(max_positions), options_(options), ranks_(ranks) {}

  /// See `ModelPipeline::run`.
  /// @param micro_batches  as many as `pipeline_shape` says
  [[nodiscard]] Losses run(const Context& context, std::span<const Batch> micro_batches,
                           const LossFactors& factors, std::span<const double> scales,
                           TransformerWeights& grads, const Stage::LayerIsDone& done);
  /// See `ModelPipeline::evaluate`.
  [[nodiscard]] Losses evaluate(const Context& context, const Batch& batch);

 private:
  [[nodiscard]] ModelPipeline& pipeline_for(std::int64_t micro_batches);

  const ModelConfig& config_;
  const TransformerWeights& weights_;
  std::int64_t max_positions_;
  ParallelOptions options_;
  Communicator& ranks_;
  std::map<std::int32_t, ModelPipeline> pipelines_;  // by the number of micro-batches
};

}  // namespace fathom
