#include "base/turns.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/progress.h"

namespace fathom {
namespace {

/// What the two sides share.
class Pair {
 public:
  /// @param idle  null, or where to note when neither side has had its turn
  explicit Pair(std::vector<Turns::Idle>* idle) : idle_(idle) {}

  void take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !taken_; });
    taken_ = true;
    if (idle_ != nullptr) idle_->push_back({given_, monotonic_seconds()});
  }
  void give() {
    const std::scoped_lock lock(mutex_);
    taken_ = false;
    if (idle_ != nullptr) given_ = monotonic_seconds();
    changed_.notify_all();
  }
  /// In a turn.
  void end_with_the_other() const {
    require(!error_, "ended, as the other of two that take turns has failed");
  }
  /// In a turn.
  void fail_with(std::exception_ptr error) {
    if (!error_) error_ = std::move(error);
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool taken_ = true;  // by the first side, which begins
  std::exception_ptr error_;
  std::vector<Turns::Idle>* idle_;
  double given_ = 0;
};

/// The pair that the thread takes turns in, if any.
thread_local Pair* own_pair = nullptr;
thread_local std::vector<Turns::Idle>* own_idle = nullptr;

/// In a turn, which it ends.
void run_side(Pair& pair, const std::function<void()>& work) {
  Pair* const before = std::exchange(own_pair, &pair);
  try {
    pair.end_with_the_other();
    work();
  } catch (...) {
    pair.fail_with(std::current_exception());
  }
  own_pair = before;
  pair.give();
}

}  // namespace

void Turns::run(const std::function<void()>& first, const std::function<void()>& second) {
  Pair pair(own_idle);
  std::thread thread;
  try {
    thread = std::thread([&] {
      pair.take();
      run_side(pair, second);
    });
  } catch (const std::system_error& error) {
    fail("cannot start a thread: {}", error.code().message());
  }
  run_side(pair, first);
  thread.join();
  pair.rethrow();
}

void Turns::note_idle(std::vector<Idle>* spans) {
  own_idle = spans;
}

void Turns::give_up() {
  if (own_pair != nullptr) {
    own_pair->give();
  } else if (own_idle != nullptr) {
    own_idle->push_back({monotonic_seconds(), 0});
  }
}

void Turns::take_back() {
  if (own_pair != nullptr) {
    own_pair->take();
  } else if (own_idle != nullptr) {
    own_idle->back().end = monotonic_seconds();
  }
}

void Turns::end_with_the_other() {
  if (own_pair != nullptr) own_pair->end_with_the_other();
}

}  // namespace fathom
