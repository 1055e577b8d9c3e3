#include "model/latent_cache.h"

#include <algorithm>

namespace fathom {

LatentCache::LatentCache(const ModelConfig& config, std::int64_t capacity_) : capacity(capacity_) {
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers.push_back({Tensor::empty({capacity, config.latent_dim()}), 0});
}

void LatentCache::truncate(std::int64_t length) {
  for (LatentCacheLayer& layer : layers) layer.length = std::min(layer.length, length);
}

}  // namespace fathom
