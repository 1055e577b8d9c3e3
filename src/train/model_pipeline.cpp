#include "train/model_pipeline.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/rank_stages.h"
#include "dist/stage_layers.h"
#include "kernels/stored_rows.h"
#include "numerics/precision.h"

namespace fathom {
namespace {

/// A step of one rank's stages.
class ModelWork : public StageWork {
 public:
  struct Step {
    const Context& context;
    std::span<const Batch> micro_batches;
    const LossFactors& factors;
    double scale;
    TransformerWeights& grads;
    const Stage::LayerIsDone& done;
  };

  ModelWork(const ModelConfig& config, const std::map<std::int16_t, Stage>& stages,
            const std::vector<Action>& actions, const Step& step)
      : config_(config), stages_(stages), step_(step) {
    for (const Action& action : actions)
      if (const StageBatch* chunk = action.weight_part()) ++weights_left_[chunk->stage];
    for (const auto& [number, stage] : stages)
      if (stage.layers().has_embedding() || stage.layers().has_head(config)) ++shared_left_;
    losses_.mtp.resize(static_cast<std::size_t>(config.num_nextn_predict_layers));
    losses_.expert_load.resize(moe_layers_before(config.num_hidden_layers + config.num_nextn_predict_layers),
                               std::vector<std::int64_t>(static_cast<std::size_t>(config.n_routed_experts)));
  }

  /// Of all chunks.
  [[nodiscard]] Losses take_losses() { return std::move(losses_); }

  Tensor input_room(StageBatch chunk) override {
    const RowFormat format = stream_format(step_.context.precision);
    if (format == RowFormat::f32) return gradient_room(chunk);
    return Tensor::empty({tokens_of(chunk), row_bytes(format, config_.hidden_size)}, DType::u8);
  }
  Tensor gradient_room(StageBatch chunk) override {
    return Tensor::empty({tokens_of(chunk), config_.hidden_size});
  }

  Tensor forward(StageBatch chunk, Tensor input) override {
    Losses losses;
    const Stage& stage = stages_.at(chunk.stage);
    const Tensor output = stage.forward(step_.context, batch_of(chunk), received(std::move(input)),
                                        step_.factors, &saved_[{chunk.stage, chunk.micro_batch}], losses);
    add(losses, stage.layers());
    return to_send(output);
  }
  Tensor backward(StageBatch chunk, Tensor output_gradient) override {
    Stage::Saved saved = take_saved(chunk);
    return stages_.at(chunk.stage)
        .backward(step_.context, batch_of(chunk), step_.factors, step_.scale, std::move(output_gradient),
                  saved, step_.grads, done_with(chunk));
  }
  Tensor backward_input(StageBatch chunk, Tensor output_gradient) override {
    return stages_.at(chunk.stage)
        .backward_input(step_.context, batch_of(chunk), step_.factors, step_.scale,
                        std::move(output_gradient), saved_.at({chunk.stage, chunk.micro_batch}));
  }
  void backward_weight(StageBatch chunk) override {
    Stage::Saved saved = take_saved(chunk);
    stages_.at(chunk.stage)
        .backward_weight(step_.context, batch_of(chunk), step_.scale, saved, step_.grads, done_with(chunk));
  }

 private:
  [[nodiscard]] const Batch& batch_of(StageBatch chunk) const {
    return step_.micro_batches[static_cast<std::size_t>(chunk.micro_batch)];
  }
  [[nodiscard]] std::int64_t tokens_of(StageBatch chunk) const { return batch_of(chunk).sequences.tokens(); }

  Stage::Saved take_saved(StageBatch chunk) {
    return std::move(saved_.extract({chunk.stage, chunk.micro_batch}).mapped());
  }

  [[nodiscard]] Tensor to_send(const Tensor& output) const {
    const RowFormat format = stream_format(step_.context.precision);
    if (format == RowFormat::f32 || !output.defined()) return output;
    Tensor rows = Tensor::empty({output.dim(0), row_bytes(format, config_.hidden_size)}, DType::u8);
    kernels::store_rows(step_.context.pool, output.f32(), output.dim(0), config_.hidden_size, format,
                        kActivationScaling, rows.data(), nullptr);
    return rows;
  }
  [[nodiscard]] Tensor received(Tensor input) const {
    const RowFormat format = stream_format(step_.context.precision);
    if (format == RowFormat::f32 || !input.defined()) return input;
    Tensor x = Tensor::empty({input.dim(0), config_.hidden_size});
    kernels::load_rows(step_.context.pool, {input.data(), format, nullptr, x.dim(0), x.dim(1)}, x.f32());
    return x;
  }

  /// To be told of a chunk's layers: of a stage's last one that there is no more.
  Stage::LayerIsDone done_with(StageBatch chunk) {
    if (--weights_left_[chunk.stage] > 0 || !step_.done) return {};
    return [this](std::int64_t layer) {
      if (layer >= 0 || --shared_left_ == 0) step_.done(layer);
    };
  }

  [[nodiscard]] std::size_t moe_layers_before(std::int64_t end) const {
    std::size_t count = 0;
    for (std::int64_t i = 0; i < end; ++i) count += config_.is_moe_layer(i) ? 1 : 0;
    return count;
  }

  void add(const Losses& losses, LayerRun layers) {
    losses_.main += step_.scale * losses.main;
    for (std::size_t k = 0; k < losses.mtp.size(); ++k) losses_.mtp[k] += step_.scale * losses.mtp[k];
    losses_.balance += step_.scale * losses.balance;
    losses_.targets += losses.targets;
    std::size_t layer = moe_layers_before(layers.begin);
    for (const std::vector<std::int64_t>& load : losses.expert_load) {
      std::vector<std::int64_t>& sum = losses_.expert_load[layer++];
      for (std::size_t e = 0; e < sum.size(); ++e) sum[e] += load[e];
    }
  }

  const ModelConfig& config_;
  const std::map<std::int16_t, Stage>& stages_;
  Step step_;
  Losses losses_;
  std::map<std::pair<std::int16_t, std::int16_t>, Stage::Saved> saved_;  // of chunks in flight
  std::map<std::int16_t, std::int64_t> weights_left_;  // by stage: chunks whose weight gradients are to come
  std::int64_t shared_left_ = 0;                       // stages that have more to add to layer -1
};

}  // namespace

ModelPipeline::ModelPipeline(const ModelConfig& config, const TransformerWeights& weights,
                             std::int64_t max_positions, PipelineSchedule schedule, Communicator& ranks)
    : config_(config), rope_(config, max_positions), executor_(std::move(schedule), ranks) {
  const std::vector<LayerRun> layers = split_layers(config, executor_.shape().stages);
  const std::vector<std::vector<std::size_t>> held = stages_of_ranks(executor_.shape());
  for (const std::size_t stage : held[static_cast<std::size_t>(ranks.rank())])
    stages_.try_emplace(static_cast<std::int16_t>(stage), config, weights, rope_, layers[stage]);
}

Losses ModelPipeline::run(const Context& context, std::span<const Batch> micro_batches,
                          const LossFactors& factors, double scale, TransformerWeights& grads,
                          const Stage::LayerIsDone& done) const {
  require(micro_batches.size() == static_cast<std::size_t>(executor_.shape().micro_batches),
          "{} micro-batches for a schedule of {}", micro_batches.size(), executor_.shape().micro_batches);
  ModelWork work(config_, stages_, executor_.actions(),
                 {context, micro_batches, factors, scale, grads, done});
  executor_.run(work);
  return work.take_losses();
}

}  // namespace fathom
