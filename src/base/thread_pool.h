#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/residence.h"

namespace fathom {

/// Which memory node each thread of a pool belongs to.
struct ThreadNodes {
  std::vector<std::size_t> node_of_thread;  // [threads], counted from 0, each node at least once
  /// Called by each thread before its first item, to bind itself; by whoever calls the pool as thread 0.
  std::function<void(std::size_t thread)> bind;
};

/// Items [begin, end) of a loop, which the threads of `node` should take.
struct NodeItems {
  std::size_t begin;
  std::size_t end;
  std::size_t node;
};

/// Whether threads take items of other nodes when there are none of their own any more.
enum class OthersHelp : bool { no, yes };

/// Threads that share loops. Work is cut into items by the caller, by sizes alone and never by the number of
/// threads, so that results do not depend on it; the pool only decides who takes which item.
class ThreadPool {
 public:
  /// @param threads  threads that work on a loop, the caller's own included; 0 takes what the machine offers.
  ///                 Throws `Error` when the system gives fewer
  explicit ThreadPool(std::size_t threads = 0);
  /// Threads that belong to memory nodes.
  explicit ThreadPool(ThreadNodes nodes);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] std::size_t threads() const;

  /// Calls `item(i)` once for each i in [0, count), in any order, on any thread, and returns when all are
  /// done. The exception of the lowest i that threw is rethrown; items above that i may not have run. A call
  /// from inside an item runs its loop in place.
  void parallel_for(std::size_t count, const std::function<void(std::size_t)>& item);

  /// The same for the items of all `runs`, where no item is in two of them: threads take those of their own
  /// node first.
  void parallel_for(std::span<const NodeItems> runs, const std::function<void(std::size_t)>& item,
                    OthersHelp others_help = OthersHelp::yes);

  /// Cuts [0, count) into runs of `grain` (the last may be shorter) and calls `range(begin, end)` for each.
  void parallel_ranges(std::size_t count, std::size_t grain,
                       const std::function<void(std::size_t, std::size_t)>& range);

  /// How many memory nodes the threads belong to; 1 where nobody said.
  [[nodiscard]] std::size_t nodes() const;
  /// That of the calling thread; 0 where it is none of a pool with nodes.
  [[nodiscard]] static std::size_t own_node();

  /// Where weights lie, for loops over them; null: nobody knows. Not while a loop runs.
  void set_residence(std::shared_ptr<const Residence> residence) { residence_ = std::move(residence); }
  [[nodiscard]] const Residence* residence() const { return residence_.get(); }

 private:
  void start(std::size_t threads);
  void run_loop();

  struct State;
  std::unique_ptr<State> state_;
  std::shared_ptr<const Residence> residence_;
};

}  // namespace fathom
