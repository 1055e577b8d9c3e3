#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/batch.h"
#include "posttrain/task.h"

namespace fathom {

/// An answer that the policy gave to a question, as it is learned from.
struct Rollout {
  std::vector<std::int32_t> tokens;  // of prompt and answer, with what ended it
  std::size_t prompt_tokens = 0;
  bool is_cut = false;  // by the limit of its length
  std::string text;     // of the answer
  Reward reward;
  double total = 0;      // of the reward's parts, weighed
  double advantage = 0;  // in its group

  [[nodiscard]] std::size_t answer_tokens() const { return tokens.size() - prompt_tokens; }
};

/// Some rollouts as a batch, each a sequence of its own, of which answers alone have targets.
/// @param chosen  indices
Batch rollout_batch(std::span<const Rollout> rollouts, std::span<const std::size_t> chosen);

/// Values of a batch's tokens, [tokens], as those of each answer's, [chosen][answer tokens].
std::vector<std::vector<float>> answers_of_batch(std::span<const Rollout> rollouts,
                                                 std::span<const std::size_t> chosen,
                                                 std::span<const float> values);
/// The way back: 0 where there is no answer.
/// @param values  [rollouts][answer tokens]
std::vector<float> batch_of_answers(std::span<const Rollout> rollouts, std::span<const std::size_t> chosen,
                                    std::span<const std::vector<float>> values);

/// Cuts a list of rollouts into parts that a forward pass takes at once: in their order, at most `rows`
/// tokens together, but for one that is longer alone.
std::vector<std::vector<std::size_t>> cut_rollouts(std::span<const Rollout> rollouts,
                                                   std::span<const std::size_t> chosen, std::size_t rows);

}  // namespace fathom
