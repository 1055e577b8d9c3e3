#include "base/turns.h"

#include <array>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/error.h"

namespace fathom {
namespace {

/// What the two sides share.
class Pair {
 public:
  /// Returns when it is the side's turn; throws when the other side has failed.
  void begin(std::size_t side) {
    std::unique_lock lock(mutex_);
    take(lock, side);
  }
  void hand_over(std::size_t side) {
    std::unique_lock lock(mutex_);
    give(side);
    take(lock, side);
  }
  /// @param error  null where it ended well
  void end(std::size_t side, std::exception_ptr error) {
    const std::scoped_lock lock(mutex_);
    ended_[side] = true;
    if (!error_) error_ = std::move(error);
    give(side);
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void give(std::size_t side) {
    turn_ = 1 - side;
    changed_.notify_all();
  }
  void take(std::unique_lock<std::mutex>& lock, std::size_t side) {
    changed_.wait(lock, [&] { return turn_ == side || ended_[1 - side]; });
    turn_ = side;
    require(!error_, "ended, as the other of two that take turns has failed");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t turn_ = 0;
  std::array<bool, 2> ended_ = {};
  std::exception_ptr error_;
};

/// The pair that the thread takes turns in, if any.
struct Place {
  Pair* pair = nullptr;
  std::size_t side = 0;
};
thread_local Place own_place;

void run_side(Pair& pair, std::size_t side, const std::function<void()>& work) {
  const Place before = own_place;
  own_place = {&pair, side};
  std::exception_ptr error;
  try {
    pair.begin(side);
    work();
  } catch (...) {
    error = std::current_exception();
  }
  own_place = before;
  pair.end(side, std::move(error));
}

}  // namespace

void Turns::run(const std::function<void()>& first, const std::function<void()>& second) {
  Pair pair;
  std::thread thread;
  try {
    thread = std::thread([&] { run_side(pair, 1, second); });
  } catch (const std::system_error& error) {
    fail("cannot start a thread: {}", error.code().message());
  }
  run_side(pair, 0, first);
  thread.join();
  pair.rethrow();
}

void Turns::hand_over() {
  if (own_place.pair != nullptr) own_place.pair->hand_over(own_place.side);
}

}  // namespace fathom
