#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "dist/communicator.h"
#include "dist/pipeline_schedule.h"
#include "dist/schedule_executor.h"
#include "model/config.h"
#include "model/context.h"
#include "model/losses.h"
#include "model/rope.h"
#include "model/stage.h"
#include "model/weights.h"

namespace fathom {

/// One rank's part of a model that is trained in a pipeline: its stages (`layers_of_ranks`) under a schedule.
///
/// What travels: activations as a block keeps them (`stream_format`), which in the BF16 and FP8 recipes is
/// BF16, as in the reference, and loses nothing, since every stage begins with a block, which rounds its
/// input so anyway; gradients in f32, as they are between blocks. So a pipeline computes what one process
/// does, whatever the precision.
class ModelPipeline {
 public:
  /// Keeps references. Weights that the rank's stages do not use (`LayerRun::uses`) may be undefined.
  /// @param max_positions  longest sequence that will be asked for
  /// @param ranks          of the pipeline alone (dist/schedule_executor.h)
  /// @param overlap        whether the two passes of a pair take turns while messages travel, or come one
  ///                       behind the other, which gives the same and takes longer
  /// Throws `Error` for a schedule that may not be executed, and where there are fewer layers than stages.
  ModelPipeline(const ModelConfig& config, const TransformerWeights& weights, std::int64_t max_positions,
                PipelineSchedule schedule, Communicator& ranks, bool overlap = true);
  ModelPipeline(const ModelPipeline&) = delete;
  ModelPipeline& operator=(const ModelPipeline&) = delete;

  /// Forward and backward of a step's micro-batches, together with the other ranks:
  /// grads += d(sum of the micro-batches' total losses · scales) / d(parameters), for those that are used
  /// here. A parameter that several ranks use has a part of its gradient on each: `embed_tokens` on the first
  /// and the last stage (`LayerRun::uses`), and with DualPipe all of a stage's, on the two ranks that hold
  /// it. Sums are taken in the order of the schedule: two runs have the same bits.
  /// @param micro_batches  [micro_batches of the schedule], the same on all ranks
  /// @param scales         [micro-batches] of their losses in the sums
  /// @param grads          those of what is used here are f32
  /// @param done           if wanted: called when no more is added to a layer's gradients; layers of one
  ///                       stage as `Stage::backward` does, -1 last of all and where it is used alone
  /// @param record         see `ScheduleExecutor::run`
  /// @return  this rank's part of the losses, scaled too, shaped as the whole model's with zeros where other
  ///          ranks have the figures: their sum over the ranks is the pipeline's. Targets are of the last
  ///          stage, loads of its own MoE layers
  Losses run(const Context& context, std::span<const Batch> micro_batches, const LossFactors& factors,
             std::span<const double> scales, TransformerWeights& grads, const Stage::LayerIsDone& done = {},
             std::vector<TimedAction>* record = nullptr) const;

  /// The losses of a batch without gradients, as `Transformer::forward` measures them in evaluation: this
  /// rank's part, as above. Stage by stage: while later ones work on a batch, earlier ones can on the next.
  Losses evaluate(const Context& context, const Batch& batch) const;

 private:
  const ModelConfig& config_;
  Communicator& ranks_;
  RopeTable rope_;
  ScheduleExecutor executor_;
  bool overlap_;
  std::map<std::int16_t, Stage> stages_;  // those of this rank, by their number
};

}  // namespace fathom
