#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "infer/cache_book.h"
#include "infer/prefix_tiers.h"

namespace fathom {

/// Consecutive ranks of a job.
struct RankRange {
  int begin = 0;
  int end = 0;

  [[nodiscard]] int size() const { return end - begin; }
  [[nodiscard]] bool contains(int rank) const { return rank >= begin && rank < end; }
  bool operator==(const RankRange&) const = default;
};

/// Pages on a rank.
struct CacheSeat {
  int rank = -1;  // -1: none
  std::vector<PageId> pages;
  std::int64_t held = 0;  // see `PageGrant`
};

/// How much of the prompts that were seated was cached.
struct CacheHits {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
};

/// The pages of all ranks' latent caches. Safe to use from several threads.
class CacheLedger {
 public:
  /// @param tiers  a second tier, of which a reference is kept; null: none
  CacheLedger(int ranks, const CacheOptions& options, PrefixTiers* tiers = nullptr);

  [[nodiscard]] const CacheOptions& options() const { return options_; }
  /// Positions of each rank.
  [[nodiscard]] std::int64_t capacity() const { return options_.pages() * options_.page_positions; }

  /// Seats a sequence of these tokens on a rank of each range, on all or none, there where it brings the
  /// number of pages in use least high: where its beginning is shared, or where there is most room. Where
  /// others have pages a page more must be free, so that it does not have to go at once; and nobody comes to
  /// a rank where somebody is paused. Only in the first range may its beginning be held already.
  /// @return  [ranges]; none where some range has no room
  std::optional<std::vector<CacheSeat>> admit(std::span<const RankRange> ranges,
                                              std::span<const std::int32_t> tokens);
  std::optional<PageId> grow(int rank);
  /// Gives pages of `grow` back in which nothing lies.
  void give_back(int rank, std::span<const PageId> pages);
  /// Gives a seat's pages back.
  /// @param tokens  see `CacheBook::release`
  void release(CacheSeat& seat, std::span<const std::int32_t> tokens = {});
  /// Gives them back until `resume`, for others.
  void pause(CacheSeat& seat, std::span<const std::int32_t> tokens);
  /// A seat on the same rank for a sequence that was paused; none where there is no room.
  std::optional<CacheSeat> resume(int rank, std::span<const std::int32_t> tokens);
  /// A sequence that was paused will not be resumed.
  void end_pause(int rank);
  /// See `CacheBook::remember`.
  void remember(const CacheSeat& seat, std::span<const std::int32_t> tokens);

  /// So far.
  [[nodiscard]] CacheHits hits() const;

  struct Orders {
    std::vector<PageOrder> pages;
    std::vector<std::vector<std::int32_t>> spilled;  // the texts of those that are to be spilled
  };
  /// What the rank must do before its next step.
  Orders take_orders(int rank);
  /// Gives up all prefixes that nobody uses, to the second tier.
  void give_up_all(int rank);

 private:
  struct Rank {
    explicit Rank(const CacheOptions& options) : book(options) {}
    CacheBook book;
    std::int64_t paused = 0;
  };
  Rank& at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] int best_of(const RankRange& range, std::span<const std::int32_t> tokens) const;

  CacheOptions options_;
  mutable std::mutex mutex_;
  CacheHits hits_;
  std::deque<Rank> ranks_;  // which are not moved
};

}  // namespace fathom
