#include "infer/cache_ledger.h"

#include <limits>
#include <utility>

namespace fathom {

CacheLedger::CacheLedger(int ranks, const CacheOptions& options, PrefixTiers* tiers) : options_(options) {
  for (int rank = 0; rank < ranks; ++rank) {
    CacheBook& book = ranks_.emplace_back(options).book;
    if (tiers != nullptr)
      book.set_second_tier({[tiers](std::span<const std::int32_t> tokens) { return tiers->load(tokens); },
                            [tiers](std::span<const std::int32_t> tokens) { return tiers->has(tokens); }});
  }
}

int CacheLedger::best_of(const RankRange& range, std::span<const std::int32_t> tokens) const {
  int best = range.begin;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (int rank = range.begin; rank < range.end; ++rank) {
    const Rank& candidate = ranks_[static_cast<std::size_t>(rank)];
    if (candidate.paused > 0) continue;
    const std::int64_t in_use = candidate.book.in_use() + candidate.book.pages_for(tokens);
    if (in_use >= least) continue;
    best = rank;
    least = in_use;
  }
  return best;
}

std::optional<std::vector<CacheSeat>> CacheLedger::admit(std::span<const RankRange> ranges,
                                                         std::span<const std::int32_t> tokens) {
  const std::scoped_lock lock(mutex_);
  std::vector<CacheSeat> seats;
  for (const RankRange& range : ranges) {
    CacheSeat seat;
    seat.rank = best_of(range, tokens);
    Rank& rank = at(seat.rank);
    const std::int64_t spare = rank.book.in_use() > 0 ? 1 : 0;
    std::optional<PageGrant> grant;
    if (rank.paused == 0 && rank.book.available() >= rank.book.pages_for(tokens) + spare)
      grant = rank.book.admit(tokens, seats.empty());
    if (!grant) {
      for (CacheSeat& taken : seats) at(taken.rank).book.release(taken.pages);
      return std::nullopt;
    }
    seat.pages = std::move(grant->pages);
    seat.held = grant->held;
    seats.push_back(std::move(seat));
  }
  hits_.prompt_tokens += static_cast<std::int64_t>(tokens.size());
  hits_.cached_tokens += seats.front().held;
  return seats;
}

CacheHits CacheLedger::hits() const {
  const std::scoped_lock lock(mutex_);
  return hits_;
}

std::optional<PageId> CacheLedger::grow(int rank) {
  const std::scoped_lock lock(mutex_);
  return at(rank).book.grow();
}

void CacheLedger::give_back(int rank, std::span<const PageId> pages) {
  const std::scoped_lock lock(mutex_);
  at(rank).book.release(pages);
}

void CacheLedger::release(CacheSeat& seat, std::span<const std::int32_t> tokens) {
  const std::scoped_lock lock(mutex_);
  at(seat.rank).book.release(seat.pages, tokens);
  seat = {};
}

void CacheLedger::pause(CacheSeat& seat, std::span<const std::int32_t> tokens) {
  const std::scoped_lock lock(mutex_);
  Rank& rank = at(seat.rank);
  rank.book.release(seat.pages, tokens);
  seat.pages.clear();
  seat.held = 0;
  ++rank.paused;
}

std::optional<CacheSeat> CacheLedger::resume(int rank, std::span<const std::int32_t> tokens) {
  const std::scoped_lock lock(mutex_);
  CacheBook& book = at(rank).book;
  const std::int64_t spare = book.in_use() > 0 ? 1 : 0;
  if (book.available() < book.pages_for(tokens) + spare) return std::nullopt;
  std::optional<PageGrant> grant = book.admit(tokens, true);
  if (!grant) return std::nullopt;
  --at(rank).paused;
  return CacheSeat{rank, std::move(grant->pages), grant->held};
}

void CacheLedger::end_pause(int rank) {
  const std::scoped_lock lock(mutex_);
  --at(rank).paused;
}

void CacheLedger::remember(const CacheSeat& seat, std::span<const std::int32_t> tokens) {
  const std::scoped_lock lock(mutex_);
  at(seat.rank).book.remember(tokens, seat.pages);
}

CacheLedger::Orders CacheLedger::take_orders(int rank) {
  const std::scoped_lock lock(mutex_);
  CacheBook& book = at(rank).book;
  return {book.take_orders(), book.take_spilled()};
}

void CacheLedger::give_up_all(int rank) {
  const std::scoped_lock lock(mutex_);
  at(rank).book.give_up_all();
}

}  // namespace fathom
