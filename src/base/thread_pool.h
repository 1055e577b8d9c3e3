#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace fathom {

/// Threads that share loops. Work is cut into items by the caller, by sizes alone and never by the number of
/// threads, so that results do not depend on it; the pool only decides who takes which item.
class ThreadPool {
 public:
  /// @param threads  threads that work on a loop, the caller's own included; 0 takes what the machine offers.
  ///                 Throws `Error` when the system gives fewer
  explicit ThreadPool(std::size_t threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] std::size_t threads() const;

  /// Calls `item(i)` once for each i in [0, count), in any order, on any thread, and returns when all are
  /// done. The exception of the lowest i that threw is rethrown; items above that i may not have run. A call
  /// from inside an item runs its loop in place.
  void parallel_for(std::size_t count, const std::function<void(std::size_t)>& item);

  /// Cuts [0, count) into runs of `grain` (the last may be shorter) and calls `range(begin, end)` for each.
  void parallel_ranges(std::size_t count, std::size_t grain,
                       const std::function<void(std::size_t, std::size_t)>& range);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom
