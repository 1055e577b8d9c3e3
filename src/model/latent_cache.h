#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "tensor/tensor.h"

namespace fathom {

/// One layer's latent cache: rows [kv_lora_rank normalised latent; qk_rope_head_dim rotated key], nothing
/// else. A view of rows that the cache's owner has reserved; `length` rows hold tokens.
struct LatentCacheLayer {
  Tensor rows;              // [capacity, kv_lora_rank + qk_rope_head_dim], f32
  std::int64_t length = 0;  // tokens cached so far
};

/// The cache of one sequence: a `LatentCacheLayer` per layer.
struct LatentCache {
  LatentCache(const ModelConfig& config, std::int64_t capacity);

  std::vector<LatentCacheLayer> layers;
  std::int64_t capacity;

  [[nodiscard]] std::int64_t length() const { return layers.empty() ? 0 : layers.front().length; }
  /// Forgets all tokens from position `length` on.
  void truncate(std::int64_t length);
};

}  // namespace fathom
