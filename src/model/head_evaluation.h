#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/context.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// How the main model takes the drafts of one MTP module, given the text so far as it is. The k-th module
/// drafts the k-th token after the one that the main model gives itself, and its draft counts only where
/// those before it were accepted. Sums over tokens, so that batches add up.
struct DraftAcceptance {
  std::int64_t offered = 0;     // drafts whose predecessors were all accepted, under greedy choice
  std::int64_t accepted = 0;    // of these, those that are the main model's own most probable token
  double sampled_offered = 0;   // the same in expectation, where both sides sample: sum over the vocabulary
  double sampled_accepted = 0;  // of min(p, q) is the probability that a draft from q is accepted

  /// Parts of the drafts offered; 0 where there was none.
  [[nodiscard]] double greedy_rate() const;
  [[nodiscard]] double sampled_rate() const;
  void add(const DraftAcceptance& other);
};

/// Tokens that one pass of the main model yields on average when all modules draft, under greedy choice: 1
/// and each draft whose chain is accepted.
double tokens_per_step(std::span<const DraftAcceptance> drafts);

/// What the main head and those of the MTP modules say of a text, without gradients.
struct HeadEvaluation {
  std::vector<double> losses;           // [1 + modules], mean cross-entropy in nats, the main head's first
  std::int64_t targets = 0;             // of the main head
  std::vector<DraftAcceptance> drafts;  // [modules]
};

/// Evaluates all heads in one pass, so that a token's logits are made once. They exist for a slice of tokens
/// at a time, as in `head_loss`, of the main model and of one module together.
/// @param states     [1 + modules][tokens, hidden] after their norms; depth k in the layout
///                   `sequences.shortened(k)`
/// @param targets    [tokens] of the main head; -1: neither loss nor draft
HeadEvaluation evaluate_heads(const Context& context, const LinearWeight& head,
                              std::span<const Tensor> states, const Sequences& sequences,
                              std::span<const std::int32_t> targets);

}  // namespace fathom
