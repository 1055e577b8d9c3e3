#include "train/model_pipeline.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/turns.h"
#include "dist/collectives.h"
#include "dist/compute_order.h"
#include "dist/rank_stages.h"
#include "dist/stage_layers.h"
#include "kernels/stored_rows.h"
#include "model/moe_layers.h"
#include "numerics/precision.h"

namespace fathom {
namespace {

constexpr int kEvaluationTag = 1;  // the executor has 0

/// How a stage's output travels to the next one.
class Wire {
 public:
  Wire(const Context& context, std::int64_t hidden)
      : context_(context), hidden_(hidden), format_(stream_format(context.precision)) {}

  /// To be received into.
  [[nodiscard]] Tensor room(std::int64_t tokens) const {
    if (format_ == RowFormat::f32) return Tensor::empty({tokens, hidden_});
    return Tensor::empty({tokens, row_bytes(format_, hidden_)}, DType::u8);
  }
  [[nodiscard]] Tensor pack(const Tensor& output) const {
    if (format_ == RowFormat::f32 || !output.defined()) return output;
    Tensor rows = room(output.dim(0));
    kernels::store_rows(context_.pool, output.f32(), output.dim(0), hidden_, format_, kActivationScaling,
                        rows.data(), nullptr);
    return rows;
  }
  [[nodiscard]] Tensor unpack(Tensor input) const {
    if (format_ == RowFormat::f32 || !input.defined()) return input;
    Tensor x = Tensor::empty({input.dim(0), hidden_});
    kernels::load_rows(context_.pool, {input.data(), format_, nullptr, x.dim(0), x.dim(1)}, x.f32());
    return x;
  }

 private:
  const Context& context_;
  std::int64_t hidden_;
  RowFormat format_;
};

/// Losses of a rank's stages, shaped as those of the whole model.
class SumOfStages {
 public:
  explicit SumOfStages(const ModelConfig& config) : config_(config) {
    losses_.mtp.resize(static_cast<std::size_t>(config.num_nextn_predict_layers));
    losses_.expert_load.resize(count_moe_layers(config),
                               std::vector<std::int64_t>(static_cast<std::size_t>(config.n_routed_experts)));
  }

  /// @param layers  of the stage that measured them
  void add(Losses losses, LayerRun layers, double scale) {
    losses_.main += scale * losses.main;
    for (std::size_t k = 0; k < losses.mtp.size(); ++k) losses_.mtp[k] += scale * losses.mtp[k];
    losses_.balance += scale * losses.balance;
    losses_.targets += losses.targets;
    if (!losses.drafts.empty()) losses_.drafts = std::move(losses.drafts);
    std::size_t layer = moe_layers_before(config_, layers.begin);
    for (const std::vector<std::int64_t>& load : losses.expert_load) {
      std::vector<std::int64_t>& sum = losses_.expert_load[layer++];
      for (std::size_t e = 0; e < sum.size(); ++e) sum[e] += load[e];
    }
  }
  [[nodiscard]] Losses take() { return std::move(losses_); }

 private:
  const ModelConfig& config_;
  Losses losses_;
};

/// A step of one rank's stages.
class ModelWork : public StageWork {
 public:
  struct Step {
    const Context& context;
    std::span<const Batch> micro_batches;
    const LossFactors& factors;
    std::span<const double> scales;  // [micro-batches]
    TransformerWeights& grads;
    const Stage::LayerIsDone& done;
    bool overlap;
  };

  ModelWork(const ModelConfig& config, const std::map<std::int16_t, Stage>& stages,
            const std::vector<Action>& actions, const Step& step)
      : config_(config),
        stages_(stages),
        step_(step),
        wire_(step.context, config.hidden_size),
        losses_(config) {
    for (const Action& action : actions)
      if (const StageBatch* chunk = action.weight_part()) ++weights_left_[chunk->stage];
    for (const auto& [number, stage] : stages)
      if (stage.layers().has_embedding() || stage.layers().has_head(config)) ++shared_left_;
  }

  /// Of all chunks.
  [[nodiscard]] Losses take_losses() { return losses_.take(); }

  Tensor input_room(StageBatch chunk) override { return wire_.room(tokens_of(chunk)); }
  Tensor gradient_room(StageBatch chunk) override {
    return Tensor::empty({tokens_of(chunk), config_.hidden_size});
  }

  Tensor forward(StageBatch chunk, Tensor input) override {
    Losses losses;
    const Stage& stage = stages_.at(chunk.stage);
    const Tensor output = stage.forward(step_.context, batch_of(chunk), wire_.unpack(std::move(input)),
                                        step_.factors, &saved_[{chunk.stage, chunk.micro_batch}], losses);
    losses_.add(std::move(losses), stage.layers(), scale_of(chunk));
    return wire_.pack(output);
  }
  Tensor backward(StageBatch chunk, Tensor output_gradient) override {
    Stage::Saved saved = take_saved(chunk);
    return stages_.at(chunk.stage)
        .backward(step_.context, batch_of(chunk), step_.factors, scale_of(chunk), std::move(output_gradient),
                  saved, step_.grads, done_with(chunk));
  }
  Tensor backward_input(StageBatch chunk, Tensor output_gradient) override {
    return stages_.at(chunk.stage)
        .backward_input(step_.context, batch_of(chunk), step_.factors, scale_of(chunk),
                        std::move(output_gradient), saved_.at({chunk.stage, chunk.micro_batch}));
  }
  void backward_weight(StageBatch chunk) override {
    Stage::Saved saved = take_saved(chunk);
    stages_.at(chunk.stage)
        .backward_weight(step_.context, batch_of(chunk), scale_of(chunk), saved, step_.grads,
                         done_with(chunk));
  }

  Pair overlapped(StageBatch chunk, Tensor input, StageBatch backward_chunk,
                  Tensor output_gradient) override {
    if (step_.overlap)
      return StageWork::overlapped(chunk, std::move(input), backward_chunk, std::move(output_gradient));
    Pair pair;
    pair.output = forward(chunk, std::move(input));
    pair.input_gradient = backward(backward_chunk, std::move(output_gradient));
    return pair;
  }

 private:
  [[nodiscard]] const Batch& batch_of(StageBatch chunk) const {
    return step_.micro_batches[static_cast<std::size_t>(chunk.micro_batch)];
  }
  [[nodiscard]] double scale_of(StageBatch chunk) const {
    return step_.scales[static_cast<std::size_t>(chunk.micro_batch)];
  }
  [[nodiscard]] std::int64_t tokens_of(StageBatch chunk) const { return batch_of(chunk).sequences.tokens(); }

  Stage::Saved take_saved(StageBatch chunk) {
    return std::move(saved_.extract({chunk.stage, chunk.micro_batch}).mapped());
  }

  /// To be told of a chunk's layers: of a stage's last one that there is no more.
  Stage::LayerIsDone done_with(StageBatch chunk) {
    if (--weights_left_[chunk.stage] > 0 || !step_.done) return {};
    return [this](std::int64_t layer) {
      if (layer >= 0 || --shared_left_ == 0) step_.done(layer);
    };
  }

  const ModelConfig& config_;
  const std::map<std::int16_t, Stage>& stages_;
  Step step_;
  Wire wire_;
  SumOfStages losses_;
  std::map<std::pair<std::int16_t, std::int16_t>, Stage::Saved> saved_;  // of chunks in flight
  std::map<std::int16_t, std::int64_t> weights_left_;  // by stage: chunks whose weight gradients are to come
  std::int64_t shared_left_ = 0;                       // stages that have more to add to layer -1
};

}  // namespace

ModelPipeline::ModelPipeline(const ModelConfig& config, const TransformerWeights& weights,
                             std::int64_t max_positions, PipelineSchedule schedule, Communicator& ranks,
                             bool overlap)
    : config_(config),
      ranks_(ranks),
      rope_(config, max_positions),
      executor_(std::move(schedule), ranks),
      overlap_(overlap) {
  const std::vector<LayerRun> layers = split_layers(config, executor_.shape().stages);
  const std::vector<std::vector<std::size_t>> held = stages_of_ranks(executor_.shape());
  for (const std::size_t stage : held[static_cast<std::size_t>(ranks.rank())])
    stages_.try_emplace(static_cast<std::int16_t>(stage), config, weights, rope_, layers[stage]);
}

Losses ModelPipeline::run(const Context& context, std::span<const Batch> micro_batches,
                          const LossFactors& factors, std::span<const double> scales,
                          TransformerWeights& grads, const Stage::LayerIsDone& done,
                          std::vector<TimedAction>* record) const {
  require(micro_batches.size() == static_cast<std::size_t>(executor_.shape().micro_batches) &&
              scales.size() == micro_batches.size(),
          "{} micro-batches, {} scales of their losses, for a schedule of {}", micro_batches.size(),
          scales.size(), executor_.shape().micro_batches);
  ModelWork work(config_, stages_, executor_.actions(),
                 {context, micro_batches, factors, scales, grads, done, overlap_});
  executor_.run(work, record);
  return work.take_losses();
}

Losses ModelPipeline::evaluate(const Context& context, const Batch& batch) const {
  const PipelineShape& shape = executor_.shape();
  const Wire wire(context, config_.hidden_size);
  const auto rank_of = [&](std::int64_t stage) { return shape.rank_of(stage_batch(stage, 0)); };
  SumOfStages sum(config_);
  Tensor here;  // the output of the stage before, where that is on this rank
  Tensor sent;
  Transfers sends;
  for (const auto& [number, stage] : stages_) {
    if (rank_of(number) != ranks_.rank()) continue;  // DualPipe: micro-batches of the other direction use it
    Tensor input = std::exchange(here, {});
    if (number > 0 && rank_of(number - 1) != ranks_.rank()) {
      input = wire.room(batch.sequences.tokens());
      Turns::wait(ranks_.receive(input.bytes(), rank_of(number - 1), kEvaluationTag));
    }
    Losses losses;
    here = wire.pack(
        stage.forward(context, batch, wire.unpack(std::move(input)), LossFactors{}, nullptr, losses));
    sum.add(std::move(losses), stage.layers(), 1.0);
    if (number + 1 == shape.stages || rank_of(number + 1) == ranks_.rank()) continue;
    sends.wait();
    sent = std::exchange(here, {});
    sends.add(ranks_.send(sent.bytes(), rank_of(number + 1), kEvaluationTag));
  }
  sends.wait();
  return sum.take();
}

}  // namespace fathom
