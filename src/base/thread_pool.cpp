#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace fathom {
namespace {

thread_local bool inside_item = false;
thread_local std::size_t node_of_this_thread = 0;
thread_local std::uint64_t pool_of_this_thread = 0;  // that it is bound for

/// Unlike its address, a pool's number never comes again.
std::uint64_t next_pool() {
  static std::atomic<std::uint64_t> count{0};
  return ++count;
}

/// Long enough to bridge the gap between two loops of one decode step, short enough not to burn an idle core.
constexpr int kSpins = 4000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex caller_mutex;  // one loop at a time

  // The loop under way. Written by the caller before `generation` moves on, read by workers after.
  const std::function<void(std::size_t)>* item = nullptr;
  std::size_t count = 0;
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> workers_left{0};
  std::atomic<std::uint64_t> generation{0};
  std::atomic<bool> stopping{false};

  // Where items have nodes, in place of `next` and `count`.
  struct alignas(64) NodeQueue {
    struct Run {
      std::size_t end;    // of it among the node's items
      std::size_t shift;  // from there to the loop's own numbers
    };
    std::vector<Run> runs;
    std::size_t count = 0;
    std::atomic<std::size_t> next{0};

    [[nodiscard]] std::size_t item(std::size_t index) const {
      const auto run = std::ranges::upper_bound(runs, index, {}, &Run::end);
      return index + run->shift;
    }
  };
  const std::uint64_t number = next_pool();
  ThreadNodes nodes;
  std::vector<NodeQueue> queues;  // [nodes]; none where threads have no nodes
  bool has_runs = false;
  OthersHelp others_help = OthersHelp::yes;

  std::mutex sleep_mutex;
  std::condition_variable wake;

  std::mutex error_mutex;
  std::size_t error_index = SIZE_MAX;
  std::exception_ptr error;
  std::exception_ptr bind_error;  // of a worker, for the next who calls

  void take_items() {
    inside_item = true;
    if (has_runs) {
      take_items_of_nodes();
    } else {
      for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) run_item(i);
    }
    inside_item = false;
  }

  void take_items_of_nodes() {
    const std::size_t visited = others_help == OthersHelp::yes ? queues.size() : 1;
    for (std::size_t step = 0; step < visited; ++step) {
      NodeQueue& queue = queues[(node_of_this_thread + step) % queues.size()];
      // Read before it is counted up: threads that are done look at each other's queues all the time.
      while (queue.next.load(std::memory_order_relaxed) < queue.count) {
        const std::size_t index = queue.next.fetch_add(1, std::memory_order_relaxed);
        if (index < queue.count) run_item(queue.item(index));
      }
    }
  }

  void run_item(std::size_t i) {
    try {
      (*item)(i);
    } catch (...) {
      const std::scoped_lock lock(error_mutex);
      if (i < error_index) {
        error_index = i;
        error = std::current_exception();
      }
    }
  }

  /// Gives the items of each run to its node.
  void fill_queues(std::span<const NodeItems> runs) {
    for (NodeQueue& queue : queues) {
      queue.runs.clear();
      queue.count = 0;
      queue.next.store(0, std::memory_order_relaxed);
    }
    for (const NodeItems& run : runs) {
      if (run.begin == run.end) continue;
      NodeQueue& queue = queues[run.node];
      const std::size_t shift = run.begin - queue.count;  // may wrap around, and back when it is added
      queue.count += run.end - run.begin;
      queue.runs.push_back({queue.count, shift});
    }
  }

  /// The calling thread becomes thread `thread`, if it is none yet.
  void enter(std::size_t thread) {
    if (queues.empty() || pool_of_this_thread == number) return;
    pool_of_this_thread = number;
    node_of_this_thread = nodes.node_of_thread[thread];
    if (nodes.bind) nodes.bind(thread);
  }

  void work(std::size_t thread) {
    try {
      enter(thread);
    } catch (...) {
      const std::scoped_lock lock(error_mutex);
      bind_error = std::current_exception();
    }
    std::uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < kSpins && generation.load(std::memory_order_acquire) == seen; ++spin) relax();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(sleep_mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
      }
      seen = generation.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_acquire)) return;
      take_items();
      workers_left.fetch_sub(1, std::memory_order_release);
    }
  }

  void announce() {
    {
      const std::scoped_lock lock(sleep_mutex);
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
  }

  void stop() {
    stopping.store(true, std::memory_order_release);
    announce();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(std::size_t threads) : state_(std::make_unique<State>()) {
  start(threads == 0 ? std::max(1U, std::thread::hardware_concurrency()) : threads);
}

ThreadPool::ThreadPool(ThreadNodes nodes) : state_(std::make_unique<State>()) {
  require(!nodes.node_of_thread.empty(), "a pool of no threads");
  state_->queues = std::vector<State::NodeQueue>(1 + *std::ranges::max_element(nodes.node_of_thread));
  state_->nodes = std::move(nodes);
  start(state_->nodes.node_of_thread.size());
}

void ThreadPool::start(std::size_t threads) {
  try {
    for (std::size_t i = 1; i < threads; ++i) state_->workers.emplace_back([this, i] { state_->work(i); });
  } catch (const std::system_error& error) {
    const std::size_t started = state_->workers.size();
    state_->stop();
    fail("cannot start {} threads: {} (the system gave {})", threads, error.code().message(), started + 1);
  }
}

ThreadPool::~ThreadPool() {
  state_->stop();
}

std::size_t ThreadPool::threads() const {
  return state_->workers.size() + 1;
}

void ThreadPool::parallel_for(std::size_t count, const std::function<void(std::size_t)>& item) {
  if (count == 0) return;
  if (!inside_item) state_->enter(0);
  if (inside_item || count == 1 || state_->workers.empty()) {
    for (std::size_t i = 0; i < count; ++i) item(i);
    return;
  }
  State& state = *state_;
  const std::scoped_lock one_loop(state.caller_mutex);
  state.item = &item;
  state.count = count;
  state.next.store(0, std::memory_order_relaxed);
  state.has_runs = false;
  run_loop();
}

void ThreadPool::parallel_for(std::span<const NodeItems> runs, const std::function<void(std::size_t)>& item,
                              OthersHelp others_help) {
  State& state = *state_;
  if (!inside_item) state.enter(0);
  if (inside_item || state.workers.empty() || state.queues.empty()) {
    for (const NodeItems& run : runs)
      for (std::size_t i = run.begin; i < run.end; ++i) item(i);
    return;
  }
  const std::scoped_lock one_loop(state.caller_mutex);
  state.item = &item;
  state.fill_queues(runs);
  state.has_runs = true;
  state.others_help = others_help;
  run_loop();
}

std::size_t ThreadPool::nodes() const {
  return std::max<std::size_t>(1, state_->queues.size());
}

std::size_t ThreadPool::own_node() {
  return node_of_this_thread;
}

void ThreadPool::run_loop() {
  State& state = *state_;
  state.error_index = SIZE_MAX;
  state.error = nullptr;
  state.workers_left.store(state.workers.size(), std::memory_order_relaxed);
  state.announce();
  state.take_items();
  for (int spin = 0; state.workers_left.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < kSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
  if (state.bind_error) std::rethrow_exception(std::exchange(state.bind_error, nullptr));
  if (state.error) std::rethrow_exception(state.error);
}

void ThreadPool::parallel_ranges(std::size_t count, std::size_t grain,
                                 const std::function<void(std::size_t, std::size_t)>& range) {
  require(grain > 0, "a loop cut into ranges of no items");
  parallel_for((count + grain - 1) / grain,
               [&](std::size_t i) { range(i * grain, std::min(count, (i + 1) * grain)); });
}

}  // namespace fathom
