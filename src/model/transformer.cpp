#include "model/transformer.h"

#include "base/error.h"
#include "model/embedding.h"
#include "model/linear.h"
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
                                   LatentCache& cache) const {
  const std::int64_t end = cache.length() + static_cast<std::int64_t>(tokens.size());
  require(end <= cache.capacity && end <= max_positions(),
          "{} tokens do not fit a cache of {} and {} positions", end, cache.capacity, max_positions());
  Tensor x = embed(weights_.embed_tokens, tokens);
  for (std::size_t i = 0; i < stage_.blocks().size(); ++i)
    x = stage_.blocks()[i].forward_cached(context, x, cache.layers[i]);
  return norm_forward(context, config_.rms_norm_eps, weights_.norm, x);
}

Tensor Transformer::head(const Context& context, const Tensor& hidden) const {
  return linear_forward(context.without_fp8(), weights_.lm_head, hidden);
}

}  // namespace fathom
