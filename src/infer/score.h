#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/context.h"
#include "model/latent_cache.h"
#include "model/transformer.h"

namespace fathom {

/// How probable a model finds a text.
struct Score {
  /// ln p(token i | tokens before it), [tokens - 1]: the first token has none before it.
  std::vector<double> log_probabilities;

  /// exp of the mean of -log_probabilities; NaN for a text of one token.
  [[nodiscard]] double perplexity() const;
};

/// Scores a text of at least one token and at most `model.max_positions()`. Hidden states are made a block of
/// tokens at a time over the latent cache, and logits a slice at a time, so memory beyond the cache does not
/// grow with the text. Throws `Error` naming an id outside the vocabulary, and `NonFiniteLogits`.
/// @param progress  where given, called with the tokens done so far
Score score_tokens(const Context& context, const Transformer& model, std::span<const std::int32_t> tokens,
                   const std::function<void(std::int64_t)>& progress = {},
                   LatentType cache_type = LatentType::f32);

}  // namespace fathom
