#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/sequences.h"
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

/// New tokens of several sequences that one pass takes together, each with a cache of its own: those of
/// sequence s follow what is in caches[s]. A sequence may have none.
template <typename Cache>
struct CachedTokens {
  const Sequences& sequences;
  std::span<Cache* const> caches;  // [sequences]

  [[nodiscard]] Cache& cache(std::int64_t sequence) const {
    return *caches[static_cast<std::size_t>(sequence)];
  }
  [[nodiscard]] std::int64_t begin(std::int64_t sequence) const {
    return sequences.offsets[static_cast<std::size_t>(sequence)];
  }
  [[nodiscard]] std::int64_t end(std::int64_t sequence) const { return begin(sequence + 1); }
};

}  // namespace fathom
