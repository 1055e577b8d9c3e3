#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/thread_pool.h"

namespace fathom {

/// Takes a stream of items through all threads of a pool and out again in its order.
///
/// There are no threads for reading and writing alone: each thread takes the next item, works on it, and
/// hands over what is next in order, so that all are busy whatever the parts cost. At most four items a
/// thread are under way, which bounds the memory. What comes out does not depend on the number of threads,
/// and neither does the error: the one of the earliest item is thrown, after all before it were consumed.
///
/// @tparam Item    default-constructible
template <typename Item, typename Result>
class OrderedPipeline {
 public:
  struct Stages {
    std::function<bool(Item&)> produce;   // the next item; false: there is none. One call at a time, in order
    std::function<Result(Item)> work;     // on any thread
    std::function<void(Result)> consume;  // one call at a time, in order
  };

  static void run(ThreadPool& pool, Stages stages) {
    OrderedPipeline pipeline(std::move(stages), 4 * pool.threads());
    pool.parallel_for(pool.threads(), [&](std::size_t) { pipeline.take_items(); });
    if (pipeline.failure_) std::rethrow_exception(pipeline.failure_);
  }

 private:
  struct Outcome {
    std::optional<Result> result;
    std::exception_ptr error;
  };

  OrderedPipeline(Stages stages, std::size_t window) : stages_(std::move(stages)), window_(window) {}

  void take_items() {
    while (true) {
      Item item;
      Outcome outcome;
      std::size_t ticket = 0;
      {
        const std::scoped_lock lock(produce_mutex_);
        if (ended_) return;
        try {
          if (!stages_.produce(item)) {
            ended_ = true;
            return;
          }
        } catch (...) {
          ended_ = true;
          outcome.error = std::current_exception();
        }
        ticket = produced_++;
      }
      if (!outcome.error) {
        try {
          outcome.result.emplace(stages_.work(std::move(item)));
        } catch (...) {
          outcome.error = std::current_exception();
        }
      }
      hand_over(ticket, std::move(outcome));
    }
  }

  void hand_over(std::size_t ticket, Outcome outcome) {
    std::unique_lock lock(consume_mutex_);
    // The thread with the earliest item never waits here, so there is always one that goes on.
    room_.wait(lock, [&] { return ticket < consumed_ + window_ || failure_; });
    waiting_.emplace(ticket, std::move(outcome));
    if (consuming_) return;
    consuming_ = true;
    while (!failure_ && !waiting_.empty() && waiting_.begin()->first == consumed_) {
      Outcome next = std::move(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
      lock.unlock();
      if (!next.error) {
        try {
          stages_.consume(std::move(*next.result));
        } catch (...) {
          next.error = std::current_exception();
        }
      }
      lock.lock();
      ++consumed_;
      if (next.error) {
        failure_ = next.error;
        ended_ = true;
      }
      room_.notify_all();
    }
    consuming_ = false;
  }

  Stages stages_;
  std::size_t window_;

  std::mutex produce_mutex_;
  std::atomic<bool> ended_{false};
  std::size_t produced_ = 0;

  std::mutex consume_mutex_;
  std::condition_variable room_;
  std::map<std::size_t, Outcome> waiting_;
  std::size_t consumed_ = 0;
  bool consuming_ = false;
  std::exception_ptr failure_;
};

}  // namespace fathom
