#include "infer/answer_builder.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace fathom {

void check_prompt(std::span<const std::int32_t> prompt, const Transformer& model) {
  require(!prompt.empty(), "the prompt is empty: the model needs at least one token to continue");
  const auto count = static_cast<std::int64_t>(prompt.size());
  require(count <= model.max_positions(),
          "the prompt is {} tokens long and the model's context holds {}: shorten it", count,
          model.max_positions());
  for (const std::int32_t token : prompt)
    require(token >= 0 && token < model.config().vocab_size,
            "token id {} is not in the model's vocabulary of {}", token, model.config().vocab_size);
}

AnswerLimit answer_limit(const GenerationOptions& options, std::int64_t prompt_tokens,
                         std::int64_t max_positions) {
  const std::int64_t room = max_positions - prompt_tokens + 1;
  if (options.max_tokens > 0 && options.max_tokens <= room)
    return {options.max_tokens, StopReason::max_tokens};
  return {room, StopReason::context_full};
}

std::int64_t vocabulary_with_text(const Transformer& model, const Tokenizer& tokenizer) {
  return std::min(model.config().vocab_size, tokenizer.vocab_size());
}

AnswerBuilder::AnswerBuilder(const Tokenizer& tokenizer, std::vector<std::int64_t> end_of_text,
                             const GenerationOptions& options, std::int64_t prompt_tokens, AnswerLimit limit,
                             OnText on_text)
    : end_of_text_(std::move(end_of_text)),
      ignore_eos_(options.ignore_eos),
      limit_(limit),
      decoder_(tokenizer, !options.show_special),
      stops_(options.stop),
      on_text_(std::move(on_text)) {
  answer_.stats.prompt_tokens = prompt_tokens;
}

void AnswerBuilder::show(const std::string& piece) {
  answer_.text += piece;
  if (on_text_ && !piece.empty()) on_text_(piece);
}

bool AnswerBuilder::ends_text(std::int32_t token) const {
  return std::ranges::find(end_of_text_, token) != end_of_text_.end();
}

bool AnswerBuilder::end(StopReason reason) {
  answer_.reason = reason;
  ended_ = true;
  return false;
}

bool AnswerBuilder::push(std::int32_t token) {
  if (first_token_ == start_) {
    first_token_ = Clock::now();
  } else {
    ++answer_.stats.decode_steps;
  }
  if (!ignore_eos_ && ends_text(token)) {
    answer_.end_token = token;
    return end(StopReason::end_of_text);
  }
  answer_.tokens.push_back(token);
  show(stops_.push(decoder_.push(token)));
  if (stops_.stopped()) return end(StopReason::stop_string);
  if (static_cast<std::int64_t>(answer_.tokens.size()) == limit_.tokens) return end(limit_.reason);
  return true;
}

Answer AnswerBuilder::finish(StopReason reason) {
  const Clock::time_point now = Clock::now();
  if (first_token_ == start_) first_token_ = now;
  if (!ended_) end(reason);
  show(stops_.push(decoder_.finish()));
  show(stops_.finish());
  answer_.stats.prompt_seconds = std::chrono::duration<double>(first_token_ - start_).count();
  answer_.stats.decode_seconds = std::chrono::duration<double>(now - first_token_).count();
  answer_.stats.answer_tokens = static_cast<std::int64_t>(answer_.tokens.size());
  return std::move(answer_);
}

}  // namespace fathom
