#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"

namespace fathom {
namespace {

thread_local bool inside_item = false;

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

  std::mutex sleep_mutex;
  std::condition_variable wake;

  std::mutex error_mutex;
  std::size_t error_index = SIZE_MAX;
  std::exception_ptr error;

  void take_items() {
    inside_item = true;
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
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
    inside_item = false;
  }

  void work() {
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
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  try {
    for (std::size_t i = 1; i < threads; ++i) state_->workers.emplace_back([this] { state_->work(); });
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
  if (inside_item || count == 1 || state_->workers.empty()) {
    for (std::size_t i = 0; i < count; ++i) item(i);
    return;
  }
  State& state = *state_;
  const std::scoped_lock one_loop(state.caller_mutex);
  state.item = &item;
  state.count = count;
  state.error_index = SIZE_MAX;
  state.error = nullptr;
  state.next.store(0, std::memory_order_relaxed);
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
  if (state.error) std::rethrow_exception(state.error);
}

void ThreadPool::parallel_ranges(std::size_t count, std::size_t grain,
                                 const std::function<void(std::size_t, std::size_t)>& range) {
  require(grain > 0, "a loop cut into ranges of no items");
  parallel_for((count + grain - 1) / grain,
               [&](std::size_t i) { range(i * grain, std::min(count, (i + 1) * grain)); });
}

}  // namespace fathom
