#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/context.h"
#include "model/transformer.h"
#include "posttrain/policy_loss.h"
#include "posttrain/rollout.h"
#include "train/optimizer.h"

namespace fathom {

struct PolicyTrainerOptions {
  PolicyLossOptions loss;
  std::int64_t updates = 1;        // of a step, each with a part of its rollouts
  std::size_t pass_tokens = 4096;  // of a forward pass, where an answer is not longer
  double gradient_clip = 1.0;
};

/// What a step of learning came to: means over its updates.
struct PolicyUpdate {
  double loss = 0;
  double kl = 0;
  double clipped = 0;
  double ratio = 1;
  double gradient_norm = 0;
  std::int64_t tokens = 0;  // of answers
};

/// Learns from rollouts with their advantages (`policy_loss`): the model whose weights the optimizer moves.
class PolicyTrainer {
 public:
  /// Keeps references.
  /// @param reference  the policy that the KL term holds on to; null where there is no such term
  PolicyTrainer(const Transformer& policy, const Transformer* reference, Optimizer& optimizer,
                const PolicyTrainerOptions& options);

  /// One step. The policy is the one that gave the answers; advantages are set.
  /// @param step  from 0, for the optimizer's moments
  /// Throws `Error` where loss or gradient are not finite: then weights are as they were.
  PolicyUpdate learn(const Context& context, std::span<const Rollout> rollouts, double learning_rate,
                     std::int64_t step);

  /// ln p of each answer's tokens by a model's training forward, [rollouts][answer tokens].
  [[nodiscard]] std::vector<std::vector<float>> logprobs(const Context& context, const Transformer& model,
                                                         std::span<const Rollout> rollouts) const;

 private:
  const Transformer& policy_;
  const Transformer* reference_;
  Optimizer& optimizer_;
  PolicyTrainerOptions options_;
};

}  // namespace fathom
