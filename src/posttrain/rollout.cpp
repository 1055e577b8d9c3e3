#include "posttrain/rollout.h"

#include <algorithm>

#include "base/error.h"

namespace fathom {
namespace {

/// Of the rows of a rollout, which predict all its tokens but the first, the first that predicts an answer's.
std::size_t first_answer_row(const Rollout& rollout) {
  return rollout.prompt_tokens - 1;
}

}  // namespace

Batch rollout_batch(std::span<const Rollout> rollouts, std::span<const std::size_t> chosen) {
  Batch batch;
  batch.sequences.offsets.push_back(0);
  for (const std::size_t index : chosen) {
    const Rollout& rollout = rollouts[index];
    require(rollout.prompt_tokens > 0 && rollout.answer_tokens() > 0,
            "a rollout of {} tokens behind a prompt of {}", rollout.tokens.size(), rollout.prompt_tokens);
    batch.tokens.insert(batch.tokens.end(), rollout.tokens.begin(), rollout.tokens.end() - 1);
    batch.targets.resize(batch.targets.size() + first_answer_row(rollout), -1);
    batch.targets.insert(batch.targets.end(),
                         rollout.tokens.begin() + static_cast<std::ptrdiff_t>(rollout.prompt_tokens),
                         rollout.tokens.end());
    batch.sequences.offsets.push_back(static_cast<std::int64_t>(batch.tokens.size()));
  }
  return batch;
}

std::vector<std::vector<float>> answers_of_batch(std::span<const Rollout> rollouts,
                                                 std::span<const std::size_t> chosen,
                                                 std::span<const float> values) {
  std::vector<std::vector<float>> answers;
  std::size_t begin = 0;
  for (const std::size_t index : chosen) {
    const Rollout& rollout = rollouts[index];
    const std::span<const float> own =
        values.subspan(begin + first_answer_row(rollout), rollout.answer_tokens());
    answers.emplace_back(own.begin(), own.end());
    begin += rollout.tokens.size() - 1;
  }
  return answers;
}

std::vector<float> batch_of_answers(std::span<const Rollout> rollouts, std::span<const std::size_t> chosen,
                                    std::span<const std::vector<float>> values) {
  std::vector<float> rows;
  for (const std::size_t index : chosen) {
    rows.resize(rows.size() + first_answer_row(rollouts[index]));
    rows.insert(rows.end(), values[index].begin(), values[index].end());
  }
  return rows;
}

std::vector<std::vector<std::size_t>> cut_rollouts(std::span<const Rollout> rollouts,
                                                   std::span<const std::size_t> chosen, std::size_t rows) {
  std::vector<std::vector<std::size_t>> parts;
  std::size_t filled = 0;
  for (const std::size_t index : chosen) {
    const std::size_t own = rollouts[index].tokens.size() - 1;
    if (parts.empty() || filled + own > rows) {
      parts.emplace_back();
      filled = 0;
    }
    parts.back().push_back(index);
    filled += own;
  }
  return parts;
}

}  // namespace fathom
