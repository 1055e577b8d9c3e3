#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/answer.h"
#include "infer/stop_matcher.h"
#include "model/transformer.h"
#include "text/tokenizer.h"

namespace fathom {

/// Throws `Error` when the prompt is empty, holds an id outside the vocabulary or does not fit the context.
void check_prompt(std::span<const std::int32_t> prompt, const Transformer& model);

/// How long an answer may become.
struct AnswerLimit {
  std::int64_t tokens = 0;
  StopReason reason = StopReason::max_tokens;  // what ends it there
};
AnswerLimit answer_limit(const GenerationOptions& options, std::int64_t prompt_tokens,
                         std::int64_t max_positions);

/// Positions that prompt and answer need in a latent cache. The last token of an answer is never fed back.
inline std::int64_t cache_positions(std::int64_t prompt_tokens, const AnswerLimit& limit) {
  return prompt_tokens + limit.tokens - 1;
}

/// Models round their vocabulary up: ids from here on have no text and are never chosen.
std::int64_t vocabulary_with_text(const Transformer& model, const Tokenizer& tokenizer);

/// An answer in the making: takes the tokens that are chosen, gives out the text that they make, and knows
/// when they end it.
class AnswerBuilder {
 public:
  /// Receives text as soon as it is certain: whole UTF-8 characters, and no part of a stop string.
  using OnText = std::function<void(std::string_view)>;

  /// The clock of the prompt's pass starts here.
  /// @param end_of_text  tokens that end an answer
  AnswerBuilder(const Tokenizer& tokenizer, std::vector<std::int64_t> end_of_text,
                const GenerationOptions& options, std::int64_t prompt_tokens, AnswerLimit limit,
                OnText on_text);

  /// Takes the next token.
  /// @return whether the answer goes on, and the token is to be fed back
  bool push(std::int32_t token);

  /// So many of the prompt's tokens were cached already.
  void note_cached(std::int64_t tokens) { answer_.stats.cached_tokens = tokens; }
  /// What became of drafts for a step, where they are told of one by one.
  void note_drafts(std::int64_t drafted, std::int64_t checked, std::int64_t accepted) {
    answer_.stats.speculation.count(drafted, checked, accepted);
  }
  [[nodiscard]] bool is_empty() const { return first_token_ == start_; }

  /// The end, for this reason where no token was it: gives out what was held back.
  Answer finish(StopReason reason = StopReason::cancelled);

 private:
  using Clock = std::chrono::steady_clock;

  void show(const std::string& piece);
  [[nodiscard]] bool ends_text(std::int32_t token) const;
  bool end(StopReason reason);

  std::vector<std::int64_t> end_of_text_;
  bool ignore_eos_;
  AnswerLimit limit_;
  StreamDecoder decoder_;
  StopMatcher stops_;
  OnText on_text_;
  Answer answer_;
  bool ended_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point first_token_ = start_;
};

}  // namespace fathom
