#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace fathom {

/// Consecutive ranks of a job.
struct RankRange {
  int begin = 0;
  int end = 0;

  [[nodiscard]] int size() const { return end - begin; }
  [[nodiscard]] bool contains(int rank) const { return rank >= begin && rank < end; }
  bool operator==(const RankRange&) const = default;
};

/// How many positions of latent caches are promised on each rank. Safe to use from several threads.
class CacheLedger {
 public:
  /// @param capacity  of each rank
  CacheLedger(int ranks, std::int64_t capacity);

  [[nodiscard]] std::int64_t capacity() const { return capacity_; }

  /// Promises positions on the rank of each range that has promised fewest, on all or none.
  /// @return  [ranges] the ranks; none where some range has no room
  std::optional<std::vector<int>> reserve(const std::vector<RankRange>& ranges, std::int64_t positions);
  void release(int rank, std::int64_t positions);

 private:
  std::int64_t capacity_;
  std::mutex mutex_;
  std::vector<std::int64_t> promised_;  // [ranks]
};

}  // namespace fathom
