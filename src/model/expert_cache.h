#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "io/async_reader.h"
#include "io/record_pack.h"
#include "model/expert_usage.h"

namespace fathom {

struct ExpertCacheStats {
  std::uint64_t budget_bytes = 0;    // that experts may take at most
  std::uint64_t resident_bytes = 0;  // that they take now
  std::uint64_t all_bytes = 0;       // that all of them would take

  // Experts asked for by passes:
  std::int64_t hits = 0;      // in memory already
  std::int64_t arriving = 0;  // being read already, as guessed
  std::int64_t misses = 0;    // read because of that

  std::int64_t guesses = 0;        // of experts that the next layer would use
  std::int64_t right_guesses = 0;  // that it used
  std::int64_t fetched = 0;        // guessed experts that were read ahead
  std::int64_t fetched_used = 0;   // that a pass then used

  std::uint64_t bytes_read = 0;
  double read_seconds = 0;  // in which something was being read
  double wait_seconds = 0;  // in which a pass had nothing to do but wait for experts
  std::string reading;      // how: see `AsyncReader::description`

  [[nodiscard]] std::int64_t asked() const { return hits + arriving + misses; }
  [[nodiscard]] double hit_rate() const;
  /// Uses of experts that had been read ahead, and of those that were in memory from earlier uses, of all.
  [[nodiscard]] double ahead_rate() const;
  [[nodiscard]] double kept_rate() const;
  [[nodiscard]] double guess_accuracy() const;
  [[nodiscard]] double bytes_per_second() const;
};

/// The routed experts of a pack (model/expert_pack.h) that are in memory: as many as a budget holds, the ones
/// used most of late, read when a pass asks for them or, ahead of that, when they are guessed.
///
/// Experts of one size share slots, which are of that size; where sizes differ by layer each gets its share
/// of the budget. To make room the expert goes whose next use is farthest by estimate: layers / rate + layers
/// until it is that one's turn (Belady's rule, with rates of `ExpertUsage`; the second term is "least stale"
/// of arXiv 2602.03921). Experts in use stay; those guessed for the next layer as long as others can go.
/// Thread-safe. Which experts are in memory changes no result.
class ExpertCache {
 public:
  /// Throws `Error` where the budget is too small for one expert of each size, naming what is needed.
  ExpertCache(std::shared_ptr<const RecordPack> pack, std::uint64_t budget_bytes,
              ReadMethod method = ReadMethod::best);
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;
  ExpertCache& operator=(const ExpertCache&) = delete;

  /// Experts of one layer that a pass uses, in waves as they are there and as they fit.
  class Use {
   public:
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    struct Expert {
      std::int64_t expert = 0;
      const std::byte* record = nullptr;  // stays until the next call of `next`
    };
    /// Some of those not given yet, at least one; empty when all were. Waits where none is there. Lets go of
    /// those given last. Throws `Error` where one cannot be read or is damaged.
    std::span<const Expert> next();

   private:
    friend class ExpertCache;
    Use(ExpertCache& cache, std::size_t group) : cache_(cache), group_(group) {}

    ExpertCache& cache_;
    std::size_t group_;
    std::vector<std::int64_t> waiting_;  // experts without a slot, last first
    std::vector<std::size_t> held_;      // slots of experts that are there or being read
    std::vector<Expert> given_;
    std::vector<std::size_t> given_slots_;
  };

  /// Begins to read what is not there of `experts` (distinct).
  /// @param group   of the pack
  /// @param tokens  of the pass
  /// @param rows    [experts], tokens that use each
  std::unique_ptr<Use> use(std::size_t group, std::int64_t tokens, std::span<const std::int64_t> experts,
                           std::span<const std::int64_t> rows);

  /// `experts` of a group will probably be used next, likeliest first: reads what it has room for, when
  /// nobody waits for others.
  void expect(std::size_t group, std::span<const std::int64_t> experts);

  /// Whether guesses help: not where all experts fit.
  [[nodiscard]] bool wants_guesses() const { return !holds_all_; }
  [[nodiscard]] const RecordPack& pack() const { return *pack_; }
  [[nodiscard]] ExpertCacheStats stats() const;

 private:
  enum class State : std::uint8_t { empty, reading, ready, failed };
  struct Slot {
    std::byte* memory = nullptr;
    std::size_t pool = 0;
    State state = State::empty;
    std::size_t group = 0;  // whose expert it holds, unless it is empty
    std::int64_t expert = 0;
    int users = 0;            // that hold it or wait for it
    bool is_guessed = false;  // for a layer that is still to come
    bool is_unused_fetch = false;
    bool is_cancelled = false;  // its read, which has not ended yet
    AsyncReader::Ticket ticket = 0;
    std::exception_ptr error = {};  // why it failed
  };
  /// Slots of one size.
  struct Pool {
    std::uint64_t bytes = 0;   // of a slot
    std::int64_t experts = 0;  // that there are of the size
    std::vector<std::size_t> slots = {};
    std::byte* memory = nullptr;
    std::size_t memory_bytes = 0;
  };

  void make_pools(std::uint64_t budget_bytes);
  /// A slot for another expert; null where all are in use. @param for_guess  also spares other guesses
  Slot* find_slot(std::size_t pool, std::size_t group, bool for_guess);
  /// Until an expert is used again, in layers.
  [[nodiscard]] double distance(const Slot& slot, std::size_t group) const;
  void start_read(Slot& slot, std::size_t group, std::int64_t expert, ReadUrgency urgency);
  void end_read(Slot& slot, const std::exception_ptr& error);
  void hold(Use& use, std::int64_t expert);
  void start_waiting(Use& use);
  void let_go(std::size_t slot);
  void make_empty(Slot& slot);
  void forget_guesses(std::size_t group, std::span<const std::int64_t> experts);
  void verify(const Use& use);

  std::shared_ptr<const RecordPack> pack_;
  std::vector<std::size_t> pool_of_group_;
  std::vector<Pool> pools_;
  bool holds_all_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by it.
  std::vector<Slot> slots_;
  std::vector<std::vector<std::int32_t>> slot_of_expert_;  // [groups][experts], -1: none
  std::vector<std::vector<bool>> verified_;                // [groups][experts]
  std::vector<std::vector<std::int64_t>> guesses_;         // [groups], the latest
  ExpertUsage usage_;
  ExpertCacheStats stats_;

  std::unique_ptr<AsyncReader> reader_;  // last: ends first
};

}  // namespace fathom
