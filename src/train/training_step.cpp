#include "train/training_step.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

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
                           TransformerWeights& weights, const BatchLoader& loader, Optimizer& optimizer,
                           Replicas& replicas)
    : config_(with_balance(std::move(config), training.balance)),
      training_(training),
      plan_(plan),
      loader_(loader),
      optimizer_(optimizer),
      replicas_(replicas),
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

std::int64_t TrainingStep::passes_of_step(const Context& context, std::int64_t batch_size,
                                          const BatchShare& share) const {
  if (training_.micro_batch_size == 0) return context.expert_peers != nullptr || share.count > 0 ? 1 : 0;
  if (context.expert_peers == nullptr) return share.count / training_.micro_batch_size;
  // Ranks whose experts others need go through as many passes as they do, the last ones without tokens.
  const std::int64_t units = batch_size / training_.micro_batch_size;
  return (units + replicas_.ranks().size() - 1) / replicas_.ranks().size();
}

Losses TrainingStep::local_gradients(const Context& context, const TrainingState& state) {
  const TrainingPlan::Step step = plan_.at(state.step);
  const LossFactors factors = loss_factors(step);
  const Communicator& ranks = replicas_.ranks();
  const BatchShare share = share_of_batch(
      step.batch_size, std::max(training_.micro_batch_size, std::int64_t{1}), ranks.rank(), ranks.size());
  const std::int64_t micro = training_.micro_batch_size > 0 ? training_.micro_batch_size : share.count;
  const std::int64_t passes = passes_of_step(context, step.batch_size, share);
  const auto part = static_cast<double>(micro) / static_cast<double>(step.batch_size);
  Losses sum;
  sum.mtp.resize(static_cast<std::size_t>(config_.num_nextn_predict_layers));
  sum.expert_load.resize(moe_layers_.size(),
                         std::vector<std::int64_t>(static_cast<std::size_t>(config_.n_routed_experts)));
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    const std::int64_t done = std::min(pass * micro, share.count);
    const Batch batch =
        loader_.batch(state.sequences + share.first + done, std::min(micro, share.count - done));
    Transformer::Saved saved;
    const Losses losses = model_.forward(context, batch, factors, &saved);
    sum.main += part * losses.main;
    for (std::size_t k = 0; k < losses.mtp.size(); ++k) sum.mtp[k] += part * losses.mtp[k];
    sum.balance += part * losses.balance;
    sum.targets += losses.targets;
    add_load(sum.expert_load, losses.expert_load);
    // Where others wait for this rank's experts, it goes on.
    if (!std::isfinite(sum.total(factors)) && context.expert_peers == nullptr) return sum;
    const bool is_last = pass + 1 == passes;
    model_.backward(context, batch, factors, part, saved, optimizer_.gradients(), [&](std::int64_t layer) {
      if (is_last) replicas_.layer_is_done(context, layer);
    });
  }
  return sum;
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
