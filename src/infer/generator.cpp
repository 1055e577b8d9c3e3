#include "infer/generator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "infer/stop_matcher.h"
#include "model/latent_cache.h"

namespace fathom {
namespace {

constexpr std::int64_t kPrefillBlock = 512;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

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

/// Turns tokens into text that may be shown, and hands it on.
class TextOutput {
 public:
  TextOutput(const Tokenizer& tokenizer, const GenerationOptions& options, const Generator::OnText& on_text,
             std::string& text)
      : decoder_(tokenizer, !options.show_special), stops_(options.stop), on_text_(on_text), text_(text) {}

  void push(std::int32_t token) { show(stops_.push(decoder_.push(token))); }
  /// The end: what was held back.
  void finish() {
    show(stops_.push(decoder_.finish()));
    show(stops_.finish());
  }
  [[nodiscard]] bool stopped() const { return stops_.stopped(); }

 private:
  void show(const std::string& piece) {
    text_ += piece;
    if (on_text_ && !piece.empty()) on_text_(piece);
  }

  StreamDecoder decoder_;
  StopMatcher stops_;
  const Generator::OnText& on_text_;
  std::string& text_;
};

}  // namespace

std::string_view stop_reason_name(StopReason reason) {
  constexpr std::array<std::string_view, 5> kNames = {"end_of_text", "stop_string", "max_tokens",
                                                      "context_full", "cancelled"};
  return kNames.at(static_cast<std::size_t>(reason));
}

double GenerationStats::prompt_tokens_per_second() const {
  return prompt_seconds > 0 ? static_cast<double>(prompt_tokens) / prompt_seconds : 0.0;
}

double GenerationStats::decode_tokens_per_second() const {
  return decode_seconds > 0 ? static_cast<double>(decode_steps) / decode_seconds : 0.0;
}

Generator::Generator(const Context& context, const Transformer& model, const Tokenizer& tokenizer,
                     std::vector<std::int64_t> end_of_text)
    : context_(context), model_(model), tokenizer_(tokenizer), end_of_text_(std::move(end_of_text)) {}

bool Generator::ends_text(std::int32_t token) const {
  return std::ranges::find(end_of_text_, token) != end_of_text_.end();
}

Answer Generator::generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                           const OnText& on_text, const std::atomic<bool>* cancelled) const {
  check_prompt(prompt, model_);
  const auto is_cancelled = [&] {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  };
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  Sampler sampler(options.sampling);
  for (const std::int32_t token : prompt) sampler.accept(token);

  // The last token of an answer is never fed back, so it needs no place in the cache.
  const std::int64_t room = model_.max_positions() - prompt_tokens + 1;
  const std::int64_t limit = options.max_tokens > 0 ? std::min(options.max_tokens, room) : room;
  LatentCache cache(model_.config(), prompt_tokens + limit - 1);

  // Models round their vocabulary up: ids that the tokenizer does not know have no text.
  const auto with_text =
      static_cast<std::size_t>(std::min(model_.config().vocab_size, tokenizer_.vocab_size()));

  Answer answer;
  answer.stats.prompt_tokens = prompt_tokens;
  TextOutput output(tokenizer_, options, on_text, answer.text);

  const Clock::time_point prompt_start = Clock::now();
  Tensor hidden;
  for (std::int64_t begin = 0; begin < prompt_tokens && !is_cancelled(); begin += kPrefillBlock) {
    const std::int64_t count = std::min(kPrefillBlock, prompt_tokens - begin);
    hidden = model_.forward_cached(
        context_, prompt.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), cache);
  }
  answer.stats.prompt_seconds = seconds_since(prompt_start);

  const Clock::time_point decode_start = Clock::now();
  while (true) {
    if (is_cancelled()) {
      answer.reason = StopReason::cancelled;
      break;
    }
    const Tensor logits = model_.head(context_, hidden.rows(hidden.dim(0) - 1, hidden.dim(0)));
    const std::int32_t token = sampler.sample(logits.values().first(with_text));
    if (!options.ignore_eos && ends_text(token)) {
      answer.reason = StopReason::end_of_text;
      break;
    }
    sampler.accept(token);
    answer.tokens.push_back(token);
    output.push(token);
    if (output.stopped()) {
      answer.reason = StopReason::stop_string;
      break;
    }
    if (static_cast<std::int64_t>(answer.tokens.size()) == limit) {
      answer.reason = limit == options.max_tokens ? StopReason::max_tokens : StopReason::context_full;
      break;
    }
    hidden = model_.forward_cached(context_, {&token, 1}, cache);
    ++answer.stats.decode_steps;
  }
  answer.stats.decode_seconds = seconds_since(decode_start);
  output.finish();
  answer.stats.answer_tokens = static_cast<std::int64_t>(answer.tokens.size());
  return answer;
}

}  // namespace fathom
