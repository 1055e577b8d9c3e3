#include "posttrain/policy_trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "model/target_logprobs.h"

namespace fathom {
namespace {

/// The policy gradient alone: what modules draft and how experts are loaded is left to pre-training.
constexpr LossFactors kNoOtherLosses{.mtp = 0, .balance = 0};

std::vector<std::size_t> all_of(std::span<const Rollout> rollouts) {
  std::vector<std::size_t> indices(rollouts.size());
  std::iota(indices.begin(), indices.end(), std::size_t{0});
  return indices;
}

}  // namespace

PolicyTrainer::PolicyTrainer(const Transformer& policy, const Transformer* reference, Optimizer& optimizer,
                             const PolicyTrainerOptions& options)
    : policy_(policy), reference_(reference), optimizer_(optimizer), options_(options) {
  validate_policy_loss_options(options_.loss);
  require(options_.updates > 0 && options_.pass_tokens > 0, "{} updates of a step, in passes of {} tokens",
          options_.updates, options_.pass_tokens);
  require(options_.loss.kl_factor == 0 || reference != nullptr, "a KL term needs a policy to hold on to");
}

std::vector<std::vector<float>> PolicyTrainer::logprobs(const Context& context, const Transformer& model,
                                                        std::span<const Rollout> rollouts) const {
  std::vector<std::vector<float>> all;
  for (const std::vector<std::size_t>& part :
       cut_rollouts(rollouts, all_of(rollouts), options_.pass_tokens)) {
    const std::vector<float> values = target_logprobs(context, model, rollout_batch(rollouts, part));
    for (std::vector<float>& answer : answers_of_batch(rollouts, part, values))
      all.push_back(std::move(answer));
  }
  return all;
}

PolicyUpdate PolicyTrainer::learn(const Context& context, std::span<const Rollout> rollouts,
                                  double learning_rate, std::int64_t step) {
  PolicyUpdate done;
  done.ratio = 0;
  const std::vector<std::vector<float>> sampled = logprobs(context, policy_, rollouts);
  std::vector<std::vector<float>> reference;
  if (reference_ != nullptr) reference = logprobs(context, *reference_, rollouts);
  const auto updates = std::min(static_cast<std::size_t>(options_.updates), rollouts.size());
  for (std::size_t update = 0; update < updates; ++update) {
    const std::size_t begin = rollouts.size() * update / updates;
    const std::size_t end = rollouts.size() * (update + 1) / updates;
    const std::span<const Rollout> own = rollouts.subspan(begin, end - begin);
    // Of the first update the policy is still the one that gave the answers.
    const std::vector<std::vector<float>> current =
        update == 0 ? std::vector(sampled.begin(), sampled.begin() + static_cast<std::ptrdiff_t>(end))
                    : logprobs(context, policy_, own);
    std::vector<AnswerLogprobs> answers;
    for (std::size_t i = 0; i < own.size(); ++i)
      answers.push_back(
          {current[i], sampled[begin + i],
           reference_ != nullptr ? std::span<const float>(reference[begin + i]) : std::span<const float>(),
           own[i].advantage});
    const PolicyLoss loss = policy_loss(answers, options_.loss);
    require(std::isfinite(loss.loss), "the policy loss is not finite: lower the learning rate");
    for (const std::vector<std::size_t>& part : cut_rollouts(own, all_of(own), options_.pass_tokens)) {
      Batch batch = rollout_batch(own, part);
      batch.weights = batch_of_answers(own, part, loss.gradients);
      for (float& weight : batch.weights) weight = -weight;  // of cross-entropies
      Transformer::Saved saved;
      (void)policy_.forward(context, batch, kNoOtherLosses, &saved);
      policy_.backward(context, batch, kNoOtherLosses, 1.0, saved, optimizer_.gradients());
    }
    const double norm = optimizer_.gradient_norm(context);
    require(std::isfinite(norm), "the policy gradient is not finite: lower the learning rate");
    optimizer_.step(context,
                    {.learning_rate = learning_rate,
                     .beta2 = 0.99,
                     .weight_decay = 0.0,
                     .gradient_clip = options_.gradient_clip},
                    step * options_.updates + static_cast<std::int64_t>(update), norm);
    const double share = 1.0 / static_cast<double>(updates);
    done.loss += share * loss.loss;
    done.kl += share * loss.kl;
    done.clipped += share * loss.clipped;
    done.ratio += share * loss.ratio;
    done.gradient_norm += share * norm;
    for (const Rollout& rollout : own) done.tokens += static_cast<std::int64_t>(rollout.answer_tokens());
  }
  return done;
}

}  // namespace fathom
