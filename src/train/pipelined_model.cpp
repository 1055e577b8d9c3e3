#include "train/pipelined_model.h"

#include "dist/pipeline_schedule.h"

namespace fathom {

ModelPipeline& PipelinedModel::pipeline_for(std::int64_t micro_batches) {
  const PipelineShape shape = pipeline_shape(options_, micro_batches);
  const auto known = pipelines_.find(shape.micro_batches);
  if (known != pipelines_.end()) return known->second;
  return pipelines_
      .try_emplace(shape.micro_batches, config_, weights_, max_positions_, make_schedule(shape), ranks_,
                   options_.overlap)
      .first->second;
}

Losses PipelinedModel::run(const Context& context, std::span<const Batch> micro_batches,
                           const LossFactors& factors, std::span<const double> scales,
                           TransformerWeights& grads, const Stage::LayerIsDone& done) {
  return pipeline_for(static_cast<std::int64_t>(micro_batches.size()))
      .run(context, micro_batches, factors, scales, grads, done);
}

Losses PipelinedModel::evaluate(const Context& context, const Batch& batch) {
  return pipeline_for(1).evaluate(context, batch);
}

}  // namespace fathom
