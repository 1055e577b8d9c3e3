#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "model/config.h"
#include "model/context.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "train/batch_loader.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/pipelined_model.h"
#include "train/replicas.h"
#include "train/training_config.h"
#include "train/training_plan.h"

namespace fathom {

/// One step of training in its two halves, between which the caller may look at the figures and stop: until
/// `update`, the weights are as the step before left them. Of several ranks each takes its share of the
/// batch; what the halves return is of the whole step, the same on all ranks.
class TrainingStep {
 public:
  /// Keeps references to all of them but the model's config.
  /// @param pipeline  of the ranks that compute with this one, where the optimizer's layout has a pipeline;
  ///                  else null
  TrainingStep(ModelConfig config, const TrainingConfig& training, const TrainingPlan& plan,
               TransformerWeights& weights, const SequenceSource& loader, Optimizer& optimizer,
               Replicas& replicas, Communicator* pipeline = nullptr);

  /// Names of the MoE layers, in the order of the metrics' loads.
  [[nodiscard]] const std::vector<std::string>& moe_layers() const { return moe_layers_; }
  /// The whole model, where it is here.
  [[nodiscard]] const Transformer& model() const { return model_; }
  /// What a batch, the same on all ranks of a pipeline, is measured to be: here, and summed over them.
  [[nodiscard]] Losses evaluate(const Context& context, const Batch& batch);
  [[nodiscard]] const ModelConfig& config() const { return config_; }

  struct Gradients {
    Losses losses;    // means over the whole batch
    double loss = 0;  // what is minimised
    double norm = 0;  // of the gradient, before clipping; not finite when the loss is not
  };
  /// Forward and backward over the share of the batch that follows `state`, one micro-batch at a time, and
  /// the sums over all ranks. Stops early when the loss is not finite.
  Gradients gradients(const Context& context, const TrainingState& state);

  /// Moves weights and router biases, and `state` past the step. All but the speed is filled in.
  StepMetrics update(const Context& context, const Gradients& gradients, TrainingState& state);

 private:
  void add_moe_layer(std::string name, MoeWeights& moe);

  /// What a group of replicas takes of a step, in the micro-batches in which it does: the last ones may have
  /// no tokens.
  struct Share {
    std::vector<BatchShare> micro_batches;
    std::vector<double> parts;  // [micro-batches] of the step's losses that each of them is
  };
  /// This rank's part of these sequences.
  [[nodiscard]] Batch own_part(const BatchShare& sequences) const;
  [[nodiscard]] Share own_share(const Context& context, const TrainingState& state) const;
  /// Over the own share: adds to the optimizer's gradients, and returns the own part of the losses.
  [[nodiscard]] Losses local_gradients(const Context& context, const TrainingState& state);
  [[nodiscard]] Losses pipeline_gradients(const Context& context, const Share& share,
                                          const LossFactors& factors);
  [[nodiscard]] Losses sum_over_ranks(Losses losses) const;
  [[nodiscard]] LossFactors loss_factors(const TrainingPlan::Step& step) const;

  ModelConfig config_;  // its auxiliary loss is the one that is trained with
  const TrainingConfig& training_;
  const TrainingPlan& plan_;
  const SequenceSource& loader_;
  Optimizer& optimizer_;
  Replicas& replicas_;
  Transformer model_;
  std::optional<PipelinedModel> pipeline_;
  std::vector<std::string> moe_layers_;
  std::vector<Tensor> router_biases_;  // [MoE layers], undefined where routing has none
};

}  // namespace fathom
