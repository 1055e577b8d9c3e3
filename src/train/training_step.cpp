#include "train/training_step.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "base/error.h"
#include "dist/collectives.h"
#include "model/balance.h"
#include "train/evaluation.h"

namespace fathom {
namespace {

ModelConfig with_balance(ModelConfig config, Balance balance) {
  if (balance == Balance::aux_loss) config.seq_aux = false;
  return config;
}

}  // namespace

TrainingStep::TrainingStep(ModelConfig config, const TrainingConfig& training, const TrainingPlan& plan,
                           TransformerWeights& weights, const SequenceSource& loader, Optimizer& optimizer,
                           Replicas& replicas, Communicator* pipeline)
    : config_(with_balance(std::move(config), training.balance)),
      training_(training),
      plan_(plan),
      loader_(loader),
      optimizer_(optimizer),
      replicas_(replicas),
      model_(config_, weights, training.sequence_length) {
  const ParallelLayout& layout = optimizer.shards().layout();
  require(layout.has_pipeline() == (pipeline != nullptr), "a layout {} pipeline, and ranks {} one",
          layout.has_pipeline() ? "with a" : "without a", pipeline != nullptr ? "of" : "without");
  if (pipeline != nullptr)
    pipeline_.emplace(config_, weights, training.sequence_length, layout.options, *pipeline);
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i)
    if (config_.is_moe_layer(i))
      add_moe_layer(fmt::format("layer {}", i), weights.layers[static_cast<std::size_t>(i)].moe);
  for (std::size_t k = 0; k < weights.mtp.size(); ++k)
    if (config_.is_moe_layer(config_.num_hidden_layers + static_cast<std::int64_t>(k)))
      add_moe_layer(fmt::format("MTP {}", k + 1), weights.mtp[k].block.moe);
}

void TrainingStep::add_moe_layer(std::string name, MoeWeights& moe) {
  moe_layers_.push_back(std::move(name));
  router_biases_.push_back(moe.e_score_correction_bias);
}

LossFactors TrainingStep::loss_factors(const TrainingPlan::Step& step) const {
  return {step.mtp_loss_factor, balance_factor(training_, config_)};
}

TrainingStep::Share TrainingStep::own_share(const Context& context, const TrainingState& state) const {
  const ParallelLayout& layout = optimizer_.shards().layout();
  const std::int64_t batch_size = plan_.at(state.step).batch_size;
  const std::int64_t unit = std::max(training_.micro_batch_size, std::int64_t{1});
  const int groups = layout.sequence_groups();
  const BatchShare whole =
      share_of_batch(batch_size, unit, layout.sequence_group_of(replicas_.ranks().rank()), groups);
  const std::int64_t micro = training_.micro_batch_size > 0 ? training_.micro_batch_size : whole.count;
  std::int64_t passes = micro > 0 ? whole.count / micro : 0;
  // Ranks whose experts others need go through as many passes as they do.
  if (context.expert_peers != nullptr)
    passes = training_.micro_batch_size > 0 ? (batch_size / unit + groups - 1) / groups : 1;
  if (layout.has_pipeline()) passes = pipeline_shape(layout.options, passes).micro_batches;
  // Losses are means over targets: where sequences have different numbers of them, each counts alike.
  const auto targets = static_cast<double>(loader_.targets(state.sequences, batch_size));
  Share share;
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    const std::int64_t done = std::min(pass * micro, whole.count);
    const BatchShare part{state.sequences + whole.first + done, std::min(micro, whole.count - done)};
    share.micro_batches.push_back(part);
    share.parts.push_back(static_cast<double>(loader_.targets(part.first, part.count)) / targets);
  }
  return share;
}

Batch TrainingStep::own_part(const BatchShare& sequences) const {
  const ParallelLayout& layout = optimizer_.shards().layout();
  Batch batch = loader_.batch(sequences.first, sequences.count);
  batch.sequences =
      batch.sequences.part(layout.context_place_of(replicas_.ranks().rank()), layout.options.context);
  return batch;
}

Losses TrainingStep::local_gradients(const Context& context, const TrainingState& state) {
  const LossFactors factors = loss_factors(plan_.at(state.step));
  const Share share = own_share(context, state);
  if (pipeline_) return pipeline_gradients(context, share, factors);
  const bool overlap = optimizer_.shards().layout().options.overlap;
  Losses sum;
  sum.mtp.resize(static_cast<std::size_t>(config_.num_nextn_predict_layers));
  sum.expert_load.resize(moe_layers_.size(),
                         std::vector<std::int64_t>(static_cast<std::size_t>(config_.n_routed_experts)));
  for (std::size_t i = 0; i < share.micro_batches.size(); ++i) {
    const Batch batch = own_part(share.micro_batches[i]);
    const double part = share.parts[i];
    Transformer::Saved saved;
    const Losses losses = model_.forward(context, batch, factors, &saved);
    sum.main += part * losses.main;
    for (std::size_t k = 0; k < losses.mtp.size(); ++k) sum.mtp[k] += part * losses.mtp[k];
    sum.balance += part * losses.balance;
    sum.targets += losses.targets;
    add_load(sum.expert_load, losses.expert_load);
    // Where others wait for this rank's experts or latents, it goes on.
    const bool is_awaited = context.expert_peers != nullptr || context.sequence_peers != nullptr;
    if (!std::isfinite(sum.total(factors)) && !is_awaited) return sum;
    const bool is_last = i + 1 == share.micro_batches.size();
    model_.backward(context, batch, factors, part, saved, optimizer_.gradients(), [&](std::int64_t layer) {
      if (is_last && overlap) replicas_.layer_is_done(context, layer);
    });
  }
  return sum;
}

Losses TrainingStep::pipeline_gradients(const Context& context, const Share& share,
                                        const LossFactors& factors) {
  std::vector<Batch> batches;
  for (const BatchShare& sequences : share.micro_batches) batches.push_back(own_part(sequences));
  // Layers come from the last one down where a rank has one run of them. Where it has several, one could wait
  // for ranks that sum up another first; and for the embedding the last stage would wait for the first one,
  // which still waits for its gradient: these are summed up in the end.
  const ParallelLayout& layout = optimizer_.shards().layout();
  const auto place = static_cast<std::size_t>(layout.place_of(replicas_.ranks().rank()));
  Stage::LayerIsDone done;
  if (layout.layers[place].size() == 1 && layout.options.overlap)
    done = [&](std::int64_t layer) {
      if (layer >= 0) replicas_.layer_is_done(context, layer);
    };
  return pipeline_->run(context, batches, factors, share.parts, optimizer_.gradients(), done);
}

Losses TrainingStep::evaluate(const Context& context, const Batch& batch) {
  if (pipeline_) return pipeline_->evaluate(context, batch);
  return model_.forward(context, batch, LossFactors{}, nullptr);
}

Losses TrainingStep::sum_over_ranks(Losses losses) const {
  std::vector<double> figures = {losses.main, losses.balance};
  figures.insert(figures.end(), losses.mtp.begin(), losses.mtp.end());
  std::vector<std::int64_t> counts = {losses.targets};
  for (const std::vector<std::int64_t>& load : losses.expert_load)
    counts.insert(counts.end(), load.begin(), load.end());
  all_sum(replicas_.ranks(), std::span(figures));
  all_sum(replicas_.ranks(), std::span(counts));
  losses.main = figures[0];
  losses.balance = figures[1];
  std::copy(figures.begin() + 2, figures.end(), losses.mtp.begin());
  losses.targets = counts[0];
  auto next = counts.begin() + 1;
  for (std::vector<std::int64_t>& load : losses.expert_load)
    for (std::int64_t& count : load) count = *next++;
  return losses;
}

TrainingStep::Gradients TrainingStep::gradients(const Context& context, const TrainingState& state) {
  Gradients sum;
  Losses own = local_gradients(context, state);
  // Also where a loss is not finite, as other ranks do not know of it yet.
  replicas_.finish_reduction(context);
  sum.losses = sum_over_ranks(std::move(own));
  sum.loss = sum.losses.total(loss_factors(plan_.at(state.step)));
  sum.norm = replicas_.gradient_norm(context);
  if (!std::isfinite(sum.loss)) sum.norm = std::numeric_limits<double>::quiet_NaN();
  return sum;
}

StepMetrics TrainingStep::update(const Context& context, const Gradients& gradients, TrainingState& state) {
  const Losses& losses = gradients.losses;
  const TrainingPlan::Step step = plan_.at(state.step);
  optimizer_.step(context,
                  {.learning_rate = step.learning_rate,
                   .beta1 = training_.beta1,
                   .beta2 = training_.beta2,
                   .epsilon = training_.epsilon,
                   .weight_decay = training_.weight_decay,
                   .gradient_clip = training_.gradient_clip,
                   .muon_momentum = training_.muon_momentum},
                  state.step, gradients.norm);
  replicas_.gather_weights();
  for (std::size_t i = 0; i < router_biases_.size(); ++i)
    if (router_biases_[i].defined() && training_.balance == Balance::bias)
      update_router_bias(router_biases_[i], losses.expert_load[i], step.router_bias_update_rate);
  ++state.step;
  state.sequences += step.batch_size;
  state.tokens += losses.targets;

  StepMetrics metrics;
  metrics.step = state.step;
  metrics.loss = losses.main;
  metrics.mtp_loss = mean_of(losses.mtp);
  metrics.balance_loss = losses.balance;
  metrics.learning_rate = step.learning_rate;
  metrics.mtp_loss_factor = step.mtp_loss_factor;
  metrics.router_bias_update_rate = training_.balance == Balance::bias ? step.router_bias_update_rate : 0;
  metrics.batch_size = step.batch_size;
  metrics.gradient_norm = gradients.norm;
  for (const std::vector<std::int64_t>& load : losses.expert_load)
    metrics.layer_max_vio.push_back(max_violation(load));
  metrics.max_vio = mean_of(metrics.layer_max_vio);
  metrics.tokens = state.tokens;
  return metrics;
}

}  // namespace fathom
