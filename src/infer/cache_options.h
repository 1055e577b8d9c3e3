#pragma once

#include <cstdint>

#include "model/latent_cache.h"

namespace fathom {

/// A page of a rank's latent caches.
using PageId = std::int32_t;

/// The memory of a rank for latent caches, and how it is used.
struct CacheOptions {
  LatentType type = LatentType::f32;
  std::int64_t positions = 65536;  // in all pages together
  std::int64_t page_positions = kPagePositions;
  bool shares_prefixes = true;  // sequences that begin alike share what they have in common

  [[nodiscard]] std::int64_t pages() const { return positions / page_positions; }
  /// Pages that so many positions take.
  [[nodiscard]] std::int64_t pages(std::int64_t of_positions) const {
    return (of_positions + page_positions - 1) / page_positions;
  }
};

}  // namespace fathom
