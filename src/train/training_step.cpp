#include "train/training_step.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <utility>

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
                           TransformerWeights& weights, const BatchLoader& loader, Optimizer& optimizer)
    : config_(with_balance(std::move(config), training.balance)),
      training_(training),
      plan_(plan),
      loader_(loader),
      optimizer_(optimizer),
      model_(config_, weights, training.sequence_length) {
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

TrainingStep::Gradients TrainingStep::gradients(const Context& context, const TrainingState& state) {
  const TrainingPlan::Step step = plan_.at(state.step);
  const std::int64_t micro = training_.micro_batch_size > 0 ? training_.micro_batch_size : step.batch_size;
  const auto part = static_cast<double>(micro) / static_cast<double>(step.batch_size);
  const LossFactors factors = loss_factors(step);
  Gradients sum;
  sum.norm = std::numeric_limits<double>::quiet_NaN();
  for (std::int64_t done = 0; done < step.batch_size; done += micro) {
    const Batch batch = loader_.batch(state.sequences + done, micro);
    Transformer::Saved saved;
    const Losses losses = model_.forward(context, batch, factors, &saved);
    sum.losses.main += part * losses.main;
    sum.losses.mtp.resize(losses.mtp.size());
    for (std::size_t k = 0; k < losses.mtp.size(); ++k) sum.losses.mtp[k] += part * losses.mtp[k];
    sum.losses.balance += part * losses.balance;
    sum.losses.targets += losses.targets;
    add_load(sum.losses.expert_load, losses.expert_load);
    sum.loss = sum.losses.total(factors);
    if (!std::isfinite(sum.loss)) return sum;
    model_.backward(context, batch, factors, part, saved, optimizer_.gradients());
  }
  sum.norm = optimizer_.gradient_norm(context);
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
