#include "infer/generator.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "model/latent_cache.h"

namespace fathom {
namespace {

constexpr std::int64_t kPrefillBlock = 512;

}  // namespace

Generator::Generator(const Context& context, const Transformer& model, const Tokenizer& tokenizer,
                     std::vector<std::int64_t> end_of_text)
    : context_(context), model_(model), tokenizer_(tokenizer), end_of_text_(std::move(end_of_text)) {}

Answer Generator::generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                           const OnText& on_text, const std::atomic<bool>* cancelled) const {
  check_prompt(prompt, model_);
  const auto is_cancelled = [&] {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  };
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  Sampler sampler(options.sampling);
  for (const std::int32_t token : prompt) sampler.accept(token);
  const AnswerLimit limit = answer_limit(options, prompt_tokens, model_.max_positions());
  LatentCache cache(model_.config(), cache_positions(prompt_tokens, limit));
  const auto with_text = static_cast<std::size_t>(vocabulary_with_text(model_, tokenizer_));

  AnswerBuilder answer(tokenizer_, end_of_text_, options, prompt_tokens, limit, on_text);
  Tensor hidden;
  for (std::int64_t begin = 0; begin < prompt_tokens && !is_cancelled(); begin += kPrefillBlock) {
    const std::int64_t count = std::min(kPrefillBlock, prompt_tokens - begin);
    hidden = model_.forward_cached(
        context_, prompt.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), cache);
  }
  while (!is_cancelled()) {
    const Tensor logits = model_.head(context_, hidden.rows(hidden.dim(0) - 1, hidden.dim(0)));
    const std::int32_t token = sampler.sample(logits.values().first(with_text));
    sampler.accept(token);
    if (!answer.push(token)) break;
    hidden = model_.forward_cached(context_, {&token, 1}, cache);
  }
  return answer.finish();
}

}  // namespace fathom
