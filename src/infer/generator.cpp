#include "infer/generator.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

namespace fathom {
namespace {

constexpr std::int64_t kPrefillBlock = 512;

using GenerationClock = std::chrono::steady_clock;

double seconds_since(GenerationClock::time_point start) {
  return std::chrono::duration<double>(GenerationClock::now() - start).count();
}

}  // namespace

Generator::Generator(const Context& context, const Transformer& model, const Tokenizer& tokenizer,
                     std::vector<std::int64_t> end_of_text, Speculation* speculation, LatentType cache_type)
    : context_(context),
      model_(model),
      tokenizer_(tokenizer),
      end_of_text_(std::move(end_of_text)),
      grammars_(tokenizer, end_of_text_),
      speculation_(speculation),
      cache_type_(cache_type) {}

Answer Generator::generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                           const OnText& on_text, const std::atomic<bool>* cancelled,
                           Conversation* conversation) const {
  check_prompt(prompt, model_);
  const auto is_cancelled = [&] {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  };
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  Sampler sampler(options.sampling);
  for (const std::int32_t token : prompt) sampler.accept(token);
  sampler.constrain(grammars_.compile(options.grammar));
  const AnswerLimit limit = answer_limit(options, prompt_tokens, model_.max_positions());
  std::optional<LatentCache> own;
  if (conversation == nullptr)
    own.emplace(model_.config(), cache_positions(prompt_tokens, limit), cache_type_);
  LatentCache& cache = conversation != nullptr ? conversation->cache : *own;
  const std::int64_t held = conversation != nullptr ? conversation->keep_beginning_of(prompt) : 0;
  std::optional<Speculation::Text> text;
  if (speculation_ != nullptr) text.emplace(speculation_->begin(prompt_tokens + limit.tokens));
  const std::int64_t with_text = vocabulary_with_text(model_, tokenizer_);

  AnswerBuilder answer(tokenizer_, end_of_text_, options, prompt_tokens, limit, on_text);
  answer.note_cached(held);
  Tensor hidden;
  for (std::int64_t begin = held; begin < prompt_tokens && !is_cancelled(); begin += kPrefillBlock) {
    const std::int64_t count = std::min(kPrefillBlock, prompt_tokens - begin);
    const std::span<const std::int32_t> block =
        prompt.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
    hidden = model_.forward_cached(context_, block, cache);
    if (text) speculation_->read(*text, block, hidden);
  }
  const auto finish = [&] {
    Answer done = answer.finish(sampler.must_end() ? StopReason::end_of_text : StopReason::cancelled);
    if (conversation != nullptr)
      conversation->tokens.insert(conversation->tokens.end(), done.tokens.begin(), done.tokens.end());
    return done;
  };
  if (is_cancelled()) return finish();

  std::int64_t answered = 0;
  bool goes_on = true;
  const auto keep = [&](std::int32_t token) {
    ++answered;
    goes_on = answer.push(token) && !sampler.must_end();
    return goes_on;
  };
  Checked checked = check_drafts(model_.head(context_, hidden.rows(hidden.dim(0) - 1, hidden.dim(0))),
                                 with_text, {}, sampler, keep);
  std::int32_t last = checked.tokens.back();
  while (goes_on && !is_cancelled()) {
    std::vector<std::int32_t> tokens = {last};
    if (text) {
      Speculation::Request request{*text, last, checked.is_open ? 0 : limit.tokens - answered - 1, sampler};
      speculation_->draft(context_, {&request, 1});
      tokens.insert(tokens.end(), request.drafts.begin(), request.drafts.end());
    }
    const GenerationClock::time_point start = GenerationClock::now();
    const std::int64_t length = cache.length();
    hidden = model_.forward_cached(context_, tokens, cache);
    const Tensor logits = model_.head(context_, hidden);
    if (text) speculation_->record_pass(hidden.dim(0), hidden.dim(0) - 1, seconds_since(start));
    checked = check_drafts(logits, with_text, std::span(tokens).subspan(1), sampler, keep);
    // An open choice is to be made by a pass over the token before it, which therefore counts as unread.
    const std::int64_t read = checked.accepted + (checked.is_open ? 0 : 1);
    cache.truncate(length + read);
    if (text) {
      speculation_->read(*text, std::span(tokens).first(static_cast<std::size_t>(read)),
                         hidden.rows(0, read));
      speculation_->record(*text, checked.accepted);
    }
    if (!checked.tokens.empty()) last = checked.tokens.back();
  }
  Answer done = finish();
  if (text) done.stats.speculation = text->stats();
  return done;
}

}  // namespace fathom
