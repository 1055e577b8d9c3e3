#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/latent_rows.h"
#include "model/config.h"
#include "model/sequences.h"

namespace fathom {

using kernels::LatentType;

/// What a page of latent caches holds: rows of some consecutive positions in all layers, layer by layer.
struct LatentPageLayout {
  LatentPageLayout(const ModelConfig& config, LatentType type, std::int64_t positions,
                   std::int64_t layers = -1);

  kernels::LatentLayout row;
  std::int64_t layers;     // by default the model's own, without MTP modules
  std::int64_t positions;  // of a page

  bool operator==(const LatentPageLayout&) const = default;
  /// Of one position in all layers.
  [[nodiscard]] std::int64_t position_bytes() const { return layers * row.row_bytes(); }
  [[nodiscard]] std::int64_t page_bytes() const { return positions * position_bytes(); }
  /// Pages that so many positions take.
  [[nodiscard]] std::int64_t pages(std::int64_t of_positions) const {
    return (of_positions + positions - 1) / positions;
  }
};

/// Positions of a page unless somebody wants others: as many as latent attention takes at a time. Small
/// enough that a sequence's last page, half empty on average, costs little; large enough that V3's are
/// megabytes.
inline constexpr std::int64_t kPagePositions = 64;

/// The memory of a page, shared by whoever keeps it.
using LatentPage = std::shared_ptr<void>;
LatentPage allocate_page(const LatentPageLayout& layout);

/// Which pages a sequence's positions lie in.
class LatentPageTable {
 public:
  /// @param grows  takes a new page itself when it needs one; otherwise they are `add`ed
  LatentPageTable(const LatentPageLayout& layout, bool grows) : layout_(layout), grows_(grows) {}

  [[nodiscard]] const LatentPageLayout& layout() const { return layout_; }
  [[nodiscard]] std::int64_t capacity() const {
    return static_cast<std::int64_t>(pages_.size()) * layout_.positions;
  }
  [[nodiscard]] const std::vector<LatentPage>& pages() const { return pages_; }
  void add(LatentPage page);
  /// Keeps the first `count` pages.
  void shrink(std::size_t count);
  /// Makes room for so many positions; throws `Error` where there is none.
  void reserve(std::int64_t positions);
  /// Until the next page comes.
  [[nodiscard]] kernels::LatentRows rows(std::int64_t layer) const;

 private:
  LatentPageLayout layout_;
  bool grows_;
  std::vector<LatentPage> pages_;
  std::vector<std::byte*> places_;  // of pages_
};

/// One layer's latent cache: rows [kv_lora_rank normalised latent; qk_rope_head_dim rotated key], nothing
/// else. A view of the pages of a `LatentCache`; `length` rows hold tokens.
struct LatentCacheLayer {
  LatentPageTable* table = nullptr;
  std::int64_t layer = 0;
  std::int64_t capacity = 0;
  std::int64_t length = 0;  // tokens cached so far

  [[nodiscard]] kernels::LatentRows rows() const { return table->rows(layer); }
  /// Stores the rows of tokens that follow, for which there is room.
  /// @param values  [count, kv_lora_rank + qk_rope_head_dim]
  void append(ThreadPool& pool, const float* values, std::int64_t count);
};

/// The cache of one sequence: a `LatentCacheLayer` per layer.
class LatentCache {
 public:
  /// Takes memory as it grows, up to `capacity` positions.
  /// @param layer_count  the model's own by default; MTP modules have caches of their own
  LatentCache(const ModelConfig& config, std::int64_t capacity, LatentType type = LatentType::f32,
              std::int64_t layer_count = -1);
  /// Of up to `capacity` positions, in pages that are added to `table`.
  LatentCache(const LatentPageLayout& layout, std::int64_t capacity);

  std::vector<LatentCacheLayer> layers;
  std::int64_t capacity;

  [[nodiscard]] std::int64_t length() const { return layers.empty() ? 0 : layers.front().length; }
  [[nodiscard]] LatentPageTable& table() { return *table_; }
  [[nodiscard]] const LatentPageTable& table() const { return *table_; }
  /// Says how many tokens the pages hold, where they were filled by other ways than passes.
  void set_length(std::int64_t length);
  /// Forgets all tokens from position `length` on.
  void truncate(std::int64_t length);

 private:
  LatentCache(const LatentPageLayout& layout, std::int64_t capacity, bool grows);

  std::unique_ptr<LatentPageTable> table_;  // where layers find it when the cache is moved
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
