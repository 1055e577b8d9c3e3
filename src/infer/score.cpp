#include "infer/score.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "infer/sampler.h"

namespace fathom {
namespace {

constexpr std::int64_t kBlockTokens = 256;
constexpr std::int64_t kLogitsPerSlice = std::int64_t{4} << 20U;  // 16 MiB of f32

/// ln softmax(logits)[target], in f64: the sum runs over a vocabulary of up to some 100,000.
double log_probability(std::span<const float> logits, std::int32_t target) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return static_cast<double>(logits[static_cast<std::size_t>(target)]) - largest - std::log(sum);
}

}  // namespace

double Score::perplexity() const {
  if (log_probabilities.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double sum = std::accumulate(log_probabilities.begin(), log_probabilities.end(), 0.0);
  return std::exp(-sum / static_cast<double>(log_probabilities.size()));
}

Score score_tokens(const Context& context, const Transformer& model, std::span<const std::int32_t> tokens,
                   const std::function<void(std::int64_t)>& progress, LatentType cache_type) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  require(count > 0, "no tokens to score");
  require(count <= model.max_positions(), "{} tokens to score, and the model's context holds {}", count,
          model.max_positions());
  const std::int64_t vocabulary = model.config().vocab_size;
  for (const std::int32_t token : tokens)
    require(token >= 0 && token < vocabulary, "token id {} is not in the model's vocabulary of {}", token,
            vocabulary);

  const std::int64_t slice_tokens = std::max<std::int64_t>(1, kLogitsPerSlice / vocabulary);
  Score score;
  score.log_probabilities.resize(tokens.size() - 1);
  LatentCache cache(model.config(), count, cache_type);
  for (std::int64_t begin = 0; begin + 1 < count; begin += kBlockTokens) {
    const std::int64_t end = std::min(begin + kBlockTokens, count - 1);  // nothing follows the last token
    const Tensor hidden = model.forward_cached(
        context, tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
        cache);
    for (std::int64_t from = begin; from < end; from += slice_tokens) {
      const std::int64_t to = std::min(from + slice_tokens, end);
      const Tensor logits = model.head(context, hidden.rows(from - begin, to - begin));
      context.pool.parallel_for(static_cast<std::size_t>(to - from), [&](std::size_t row) {
        const std::size_t position = static_cast<std::size_t>(from) + row;
        const std::span<const float> of_token = logits.values().subspan(
            row * static_cast<std::size_t>(vocabulary), static_cast<std::size_t>(vocabulary));
        check_logits(of_token);
        score.log_probabilities[position] = log_probability(of_token, tokens[position + 1]);
      });
    }
    if (progress) progress(end);
  }
  return score;
}

}  // namespace fathom
