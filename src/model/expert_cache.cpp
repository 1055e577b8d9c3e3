#include "model/expert_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/progress.h"

namespace fathom {
namespace {

/// Tokens after which a use counts half: of 4 to 1,024 the best on traces (docs/streaming.md).
constexpr double kUsageHalfLife = 64;
/// Of an expert that was never used: its next use is as good as never.
constexpr double kLeastRate = 1e-9;

std::vector<std::int64_t> experts_of_groups(const RecordPack& pack) {
  std::vector<std::int64_t> counts;
  for (const RecordGroup& group : pack.groups()) counts.push_back(group.records);
  return counts;
}

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0.0;
}

}  // namespace

double ExpertCacheStats::hit_rate() const {
  return share(static_cast<double>(hits), static_cast<double>(asked()));
}

double ExpertCacheStats::ahead_rate() const {
  return share(static_cast<double>(fetched_used), static_cast<double>(asked()));
}

double ExpertCacheStats::kept_rate() const {
  return share(static_cast<double>(asked() - misses - fetched_used), static_cast<double>(asked()));
}

double ExpertCacheStats::guess_accuracy() const {
  return share(static_cast<double>(right_guesses), static_cast<double>(guesses));
}

double ExpertCacheStats::bytes_per_second() const {
  return share(static_cast<double>(bytes_read), read_seconds);
}

ExpertCache::ExpertCache(std::shared_ptr<const RecordPack> pack, std::uint64_t budget_bytes,
                         ReadMethod method)
    : pack_(std::move(pack)), usage_(experts_of_groups(*pack_), kUsageHalfLife) {
  make_pools(budget_bytes);
  for (const RecordGroup& group : pack_->groups()) {
    slot_of_expert_.emplace_back(static_cast<std::size_t>(group.records), -1);
    verified_.emplace_back(static_cast<std::size_t>(group.records), false);
  }
  guesses_.resize(pack_->groups().size());
  reader_ = std::make_unique<AsyncReader>(pack_->path(), method);
  stats_.budget_bytes = budget_bytes;
  stats_.reading = reader_->description();
}

ExpertCache::~ExpertCache() {
  reader_.reset();  // nothing is written to the slots any more
  for (const Pool& pool : pools_) munmap(pool.memory, pool.memory_bytes);
}

void ExpertCache::make_pools(std::uint64_t budget_bytes) {
  std::uint64_t least = 0;
  for (const RecordGroup& group : pack_->groups()) {
    auto pool = std::ranges::find(pools_, group.stride, &Pool::bytes);
    if (pool == pools_.end()) {
      pool = pools_.insert(pool, {.bytes = group.stride});
      least += group.stride;
    }
    pool->experts += group.records;
    pool_of_group_.push_back(static_cast<std::size_t>(std::distance(pools_.begin(), pool)));
    stats_.all_bytes += group.stride * static_cast<std::uint64_t>(group.records);
  }
  require(budget_bytes >= least, "{} of memory for experts is too little: {} needs at least {}",
          format_bytes(budget_bytes), pack_->path().string(), format_bytes(least));
  holds_all_ = true;
  const double spare = static_cast<double>(budget_bytes - least) / static_cast<double>(stats_.all_bytes);
  for (std::size_t p = 0; p < pools_.size(); ++p) {
    Pool& pool = pools_[p];
    const double wanted = 1 + spare * static_cast<double>(pool.experts);
    const std::int64_t count = budget_bytes >= stats_.all_bytes
                                   ? pool.experts
                                   : std::min(pool.experts, static_cast<std::int64_t>(wanted));
    holds_all_ = holds_all_ && count == pool.experts;
    pool.memory_bytes = static_cast<std::size_t>(count) * pool.bytes;
    // Pages come as experts do.
    void* memory = mmap(nullptr, pool.memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(memory != MAP_FAILED, "cannot reserve {} for experts: {}", format_bytes(pool.memory_bytes),
            errno_text(errno));
    madvise(memory, pool.memory_bytes, MADV_HUGEPAGE);  // a wish
    pool.memory = static_cast<std::byte*>(memory);
    for (std::int64_t i = 0; i < count; ++i) {
      pool.slots.push_back(slots_.size());
      slots_.push_back({.memory = pool.memory + static_cast<std::size_t>(i) * pool.bytes, .pool = p});
    }
  }
}

double ExpertCache::distance(const Slot& slot, std::size_t group) const {
  const std::size_t groups = pack_->groups().size();
  const std::size_t ahead = (slot.group + groups - group - 1) % groups + 1;  // 1: the next layer
  return static_cast<double>(groups) / std::max(kLeastRate, usage_.rate(slot.group, slot.expert)) +
         static_cast<double>(ahead);
}

ExpertCache::Slot* ExpertCache::find_slot(std::size_t pool, std::size_t group, bool for_guess) {
  Slot* best = nullptr;
  double best_distance = 0;
  for (const std::size_t index : pools_[pool].slots) {
    Slot& slot = slots_[index];
    if (slot.state == State::empty) return &slot;
    if (slot.state != State::ready || slot.users > 0 || (for_guess && slot.is_guessed)) continue;
    const double own = distance(slot, group);
    const bool is_better = best == nullptr || (best->is_guessed && !slot.is_guessed) ||
                           (best->is_guessed == slot.is_guessed && own > best_distance);
    if (!is_better) continue;
    best = &slot;
    best_distance = own;
  }
  if (best != nullptr) make_empty(*best);
  return best;
}

void ExpertCache::make_empty(Slot& slot) {
  slot_of_expert_[slot.group][static_cast<std::size_t>(slot.expert)] = -1;
  stats_.resident_bytes -= pools_[slot.pool].bytes;
  slot = {.memory = slot.memory, .pool = slot.pool};
}

void ExpertCache::start_read(Slot& slot, std::size_t group, std::int64_t expert, ReadUrgency urgency) {
  slot.state = State::reading;
  slot.group = group;
  slot.expert = expert;
  stats_.resident_bytes += pools_[slot.pool].bytes;
  slot_of_expert_[group][static_cast<std::size_t>(expert)] = static_cast<std::int32_t>(&slot - slots_.data());
  slot.ticket =
      reader_->read(pack_->groups()[group].offset(expert), {slot.memory, pools_[slot.pool].bytes}, urgency,
                    [this, &slot](const std::exception_ptr& error) { end_read(slot, error); });
}

void ExpertCache::end_read(Slot& slot, const std::exception_ptr& error) {
  {
    const std::scoped_lock lock(mutex_);
    if (error != nullptr && slot.is_cancelled && slot.users > 0) {
      // It was asked for after all.
      const std::size_t group = slot.group;
      const std::int64_t expert = slot.expert;
      const int users = slot.users;
      make_empty(slot);
      slot.users = users;
      start_read(slot, group, expert, ReadUrgency::now);
      return;
    }
    slot.state = error == nullptr ? State::ready : State::failed;
    slot.error = error;
    slot.is_cancelled = false;
    if (slot.state == State::failed && slot.users == 0) make_empty(slot);
  }
  changed_.notify_all();
}

void ExpertCache::forget_guesses(std::size_t group, std::span<const std::int64_t> experts) {
  for (const std::int64_t guess : guesses_[group]) {
    ++stats_.guesses;
    const bool is_right = std::ranges::find(experts, guess) != experts.end();
    if (is_right) ++stats_.right_guesses;
    const std::int32_t place = slot_of_expert_[group][static_cast<std::size_t>(guess)];
    if (place < 0) continue;
    Slot& slot = slots_[static_cast<std::size_t>(place)];
    slot.is_guessed = false;
    if (is_right || slot.state != State::reading || slot.users > 0 || slot.is_cancelled) continue;
    slot.is_cancelled = true;
    if (reader_->cancel(slot.ticket)) make_empty(slot);
  }
  guesses_[group].clear();
}

void ExpertCache::hold(Use& use, std::int64_t expert) {
  const std::int32_t place = slot_of_expert_[use.group_].at(static_cast<std::size_t>(expert));
  if (place < 0) {
    ++stats_.misses;
    use.waiting_.push_back(expert);
    return;
  }
  Slot& slot = slots_[static_cast<std::size_t>(place)];
  if (slot.state == State::reading) {
    ++stats_.arriving;
    reader_->hurry(slot.ticket);
  } else {
    ++stats_.hits;
  }
  if (slot.is_unused_fetch) ++stats_.fetched_used;
  slot.is_unused_fetch = false;
  ++slot.users;
  use.held_.push_back(static_cast<std::size_t>(place));
}

std::unique_ptr<ExpertCache::Use> ExpertCache::use(std::size_t group, std::int64_t tokens,
                                                   std::span<const std::int64_t> experts,
                                                   std::span<const std::int64_t> rows) {
  std::unique_ptr<Use> use(new Use(*this, group));
  const std::scoped_lock lock(mutex_);
  usage_.count(group, tokens, experts, rows);
  forget_guesses(group, experts);
  // Those that are there first: they must not make room for the others.
  for (const std::int64_t expert : experts) hold(*use, expert);
  std::ranges::reverse(use->waiting_);
  start_waiting(*use);
  return use;
}

void ExpertCache::start_waiting(Use& use) {
  while (!use.waiting_.empty()) {
    const std::int64_t expert = use.waiting_.back();
    const std::int32_t place = slot_of_expert_[use.group_][static_cast<std::size_t>(expert)];
    Slot* slot = nullptr;
    if (place >= 0) {  // somebody else has asked for it meanwhile
      slot = &slots_[static_cast<std::size_t>(place)];
      if (slot->state == State::reading) reader_->hurry(slot->ticket);
    } else {
      slot = find_slot(pool_of_group_[use.group_], use.group_, false);
      if (slot == nullptr) return;
      start_read(*slot, use.group_, expert, ReadUrgency::now);
    }
    ++slot->users;
    use.held_.push_back(static_cast<std::size_t>(slot - slots_.data()));
    use.waiting_.pop_back();
  }
}

void ExpertCache::let_go(std::size_t slot) {
  Slot& let = slots_[slot];
  if (--let.users > 0) return;
  if (let.state == State::failed) make_empty(let);
  changed_.notify_all();
}

void ExpertCache::expect(std::size_t group, std::span<const std::int64_t> experts) {
  const std::scoped_lock lock(mutex_);
  forget_guesses(group, {});  // of a pass that did not come
  for (const std::int64_t expert : experts) {
    const std::int32_t place = slot_of_expert_[group].at(static_cast<std::size_t>(expert));
    guesses_[group].push_back(expert);
    if (place >= 0) slots_[static_cast<std::size_t>(place)].is_guessed = true;
  }
  for (const std::int64_t expert : experts) {
    if (slot_of_expert_[group][static_cast<std::size_t>(expert)] >= 0) continue;
    Slot* slot = find_slot(pool_of_group_[group], group, true);
    if (slot == nullptr) return;
    slot->is_guessed = true;
    slot->is_unused_fetch = true;
    ++stats_.fetched;
    start_read(*slot, group, expert, ReadUrgency::later);
  }
}

void ExpertCache::verify(const Use& use) {
  const RecordGroup& group = pack_->groups()[use.group_];
  for (const Use::Expert& given : use.given_) {
    const auto expert = static_cast<std::size_t>(given.expert);
    {
      const std::scoped_lock lock(mutex_);
      if (verified_[use.group_][expert]) continue;
    }
    pack_->check(group, given.expert, {given.record, group.record_bytes});
    const std::scoped_lock lock(mutex_);
    verified_[use.group_][expert] = true;
  }
}

ExpertCacheStats ExpertCache::stats() const {
  ExpertCacheStats stats;
  {
    const std::scoped_lock lock(mutex_);
    stats = stats_;
  }
  stats.bytes_read = reader_->bytes_read();
  stats.read_seconds = reader_->busy_seconds();
  return stats;
}

ExpertCache::Use::~Use() {
  const std::scoped_lock lock(cache_.mutex_);
  for (const std::size_t slot : given_slots_) cache_.let_go(slot);
  for (const std::size_t slot : held_) cache_.let_go(slot);
}

std::span<const ExpertCache::Use::Expert> ExpertCache::Use::next() {
  {
    std::unique_lock lock(cache_.mutex_);
    for (const std::size_t slot : given_slots_) cache_.let_go(slot);
    given_.clear();
    given_slots_.clear();
    while (true) {
      cache_.start_waiting(*this);
      std::erase_if(held_, [&](std::size_t index) {
        const Slot& slot = cache_.slots_[index];
        if (slot.state == State::reading) return false;
        given_slots_.push_back(index);
        given_.push_back({slot.expert, slot.memory});
        return true;
      });
      for (const std::size_t index : given_slots_)
        if (cache_.slots_[index].error != nullptr) std::rethrow_exception(cache_.slots_[index].error);
      if (!given_.empty() || (held_.empty() && waiting_.empty())) break;
      const double began = monotonic_seconds();
      cache_.changed_.wait(lock);
      cache_.stats_.wait_seconds += monotonic_seconds() - began;
    }
  }
  cache_.verify(*this);
  return given_;
}

}  // namespace fathom
