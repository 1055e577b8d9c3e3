#include "model/transformer.h"

#include <algorithm>

#include "base/error.h"
#include "model/embedding.h"
#include "model/linear.h"
#include "model/moe_layers.h"
#include "model/norm.h"

namespace fathom {

Transformer::Transformer(const ModelConfig& config, const TransformerWeights& weights,
                         std::int64_t max_positions)
    : config_(config),
      weights_(weights),
      rope_(config, max_positions),
      stage_(config, weights, rope_, {0, config.num_hidden_layers}) {}

Losses Transformer::forward(const Context& context, const Batch& batch, const LossFactors& factors,
                            Saved* saved) const {
  Losses losses;
  (void)stage_.forward(context, batch, {}, factors, saved, losses);
  return losses;
}

void Transformer::backward(const Context& context, const Batch& batch, const LossFactors& factors,
                           double scale, Saved& saved, TransformerWeights& grads,
                           const LayerIsDone& done) const {
  (void)stage_.backward(context, batch, factors, scale, {}, saved, grads, done);
}

Tensor Transformer::hidden_states(const Context& context, std::span<const std::int32_t> tokens,
                                  const Sequences& sequences) const {
  Tensor x = embed(weights_.embed_tokens, tokens);
  for (const Block& block : stage_.blocks()) x = block.forward(context, x, sequences, nullptr);
  return norm_forward(context, config_.rms_norm_eps, weights_.norm, x);
}

Tensor Transformer::forward_cached(const Context& context, std::span<const std::int32_t> tokens,
                                   const CachedTokens<LatentCache>& batch, ExpertCounts* counts) const {
  const Sequences& sequences = batch.sequences;
  require(static_cast<std::int64_t>(batch.caches.size()) == sequences.count() &&
              static_cast<std::int64_t>(tokens.size()) == sequences.tokens(),
          "{} tokens and {} caches for {} sequences of {} tokens", tokens.size(), batch.caches.size(),
          sequences.count(), sequences.tokens());
  for (std::int64_t s = 0; s < sequences.count(); ++s) {
    const LatentCache& cache = batch.cache(s);
    const std::int64_t end = cache.length() + batch.end(s) - batch.begin(s);
    require(end <= cache.capacity && end <= max_positions(),
            "{} tokens do not fit a cache of {} and {} positions", end, cache.capacity, max_positions());
  }
  if (counts != nullptr) counts->resize(moe_layers_before(config_, config_.num_hidden_layers));
  std::size_t moe_layer = 0;
  std::vector<LatentCacheLayer*> layers(batch.caches.size());
  Tensor x = embed(weights_.embed_tokens, tokens);
  for (std::size_t i = 0; i < stage_.blocks().size(); ++i) {
    const Block& block = stage_.blocks()[i];
    std::ranges::transform(batch.caches, layers.begin(),
                           [i](LatentCache* cache) { return &cache->layers[i]; });
    x = block.forward_cached(context, x, {sequences, layers},
                             counts != nullptr && block.is_moe() ? &(*counts)[moe_layer++] : nullptr,
                             i + 1 < stage_.blocks().size() ? &stage_.blocks()[i + 1] : nullptr);
  }
  return norm_forward(context, config_.rms_norm_eps, weights_.norm, x);
}

Tensor Transformer::forward_cached(const Context& context, std::span<const std::int32_t> tokens,
                                   LatentCache& cache) const {
  const Sequences one = Sequences::uniform(1, static_cast<std::int64_t>(tokens.size()));
  LatentCache* const caches[] = {&cache};
  return forward_cached(context, tokens, CachedTokens<LatentCache>{one, caches});
}

LatentCache Transformer::make_mtp_cache(std::int64_t capacity) const {
  ModelConfig one_layer = config_;
  one_layer.num_hidden_layers = 1;
  return {one_layer, capacity};
}

Tensor Transformer::mtp_forward_cached(const Context& context, std::int64_t module,
                                       std::span<const std::int32_t> tokens, const Tensor& states,
                                       const CachedTokens<LatentCache>& batch) const {
  require(module >= 0 && module < mtp_modules(), "the model has {} MTP modules, and no number {}",
          mtp_modules(), module);
  require(
      static_cast<std::int64_t>(tokens.size()) == states.dim(0) && batch.sequences.tokens() == states.dim(0),
      "{} tokens and {} states for {} rows of an MTP module", tokens.size(), states.dim(0),
      batch.sequences.tokens());
  std::vector<LatentCacheLayer*> layers;
  layers.reserve(batch.caches.size());
  for (LatentCache* cache : batch.caches) layers.push_back(&cache->layers.front());
  return stage_.mtp()[static_cast<std::size_t>(module)].forward_cached(
      context, embed(weights_.embed_tokens, tokens), states, {batch.sequences, layers});
}

Tensor Transformer::head(const Context& context, const Tensor& hidden) const {
  return linear_forward(context.without_fp8(), weights_.lm_head, hidden);
}

}  // namespace fathom
