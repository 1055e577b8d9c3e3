#pragma once

#include <mpi.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dist/communicator.h"

namespace fathom {

/// Throws `Error` with what MPI says.
/// @param what  was called
void require_mpi(int code, const char* what);

/// A message, of one or more pieces.
class MpiTransfer : public Transfer::Progress {
 public:
  [[nodiscard]] bool done() const override { return state_.load(std::memory_order_acquire) != kUnderWay; }
  void wait() override;

  // By the thread that calls MPI:
  void expect(std::size_t pieces) { left_ = pieces; }
  void piece_done();
  void fail_with(std::string error);

 private:
  static constexpr int kUnderWay = 0;
  static constexpr int kDone = 1;
  static constexpr int kFailed = 2;

  void finish(int state);

  std::atomic<int> state_{kUnderWay};
  std::size_t left_ = 1;
  std::string error_;  // written before `state_`
};

/// The thread that makes all calls of MPI: it begins what others ask for, and sees to it that messages travel
/// whatever the others do. It sleeps while there are none.
class MpiThread {
 public:
  /// Starts MPI. Throws `Error` where that fails.
  MpiThread();
  /// Leaves MPI, and waits for the other processes to.
  ~MpiThread();
  MpiThread(const MpiThread&) = delete;
  MpiThread& operator=(const MpiThread&) = delete;

  /// Has the thread call this, soon.
  void post(std::function<void()> work);
  /// Has the thread call this, and waits for it; its exception is thrown here.
  void call(std::function<void()> work);

  /// On the thread: looks after a piece of a message that was begun.
  /// @param code      what beginning it returned
  /// @param expected  how many bytes a receive must bring; -1 of a send
  void add(const std::shared_ptr<MpiTransfer>& transfer, int code, MPI_Request request, int expected);

 private:
  struct Piece {
    std::shared_ptr<MpiTransfer> transfer;
    int expected;
  };

  void run(std::promise<void>& started);
  void run_posted();
  bool progress();
  void drop_completed();
  void fail_all(int code);

  /// Polls without news after which the thread naps between two, as there may be fewer cores than threads.
  static constexpr int kPollsBeforeNaps = 200;
  static constexpr std::chrono::microseconds kNap{50};
  /// After so many naps they become as much longer as the first was, and again, up to a limit: a process that
  /// awaits a message for hours, as that of an idle server, costs next to nothing.
  static constexpr int kNapsOfOneLength = 200;
  static constexpr int kLongestNap = 40;  // times the first
  static constexpr int kMostPolls = kPollsBeforeNaps + kNapsOfOneLength * kLongestNap;

  [[nodiscard]] std::chrono::microseconds next_nap() const {
    return kNap * (1 + (polls_ - kPollsBeforeNaps) / kNapsOfOneLength);
  }

  std::mutex mutex_;
  std::condition_variable has_work_;
  std::vector<std::function<void()>> posted_;
  // Of the thread alone:
  bool is_leaving_ = false;
  int polls_ = 0;  // without news, as far as they matter
  std::vector<MPI_Request> requests_;
  std::vector<Piece> pieces_;  // of each request
  std::vector<int> completed_;
  std::vector<MPI_Status> statuses_;
  std::thread thread_;  // last: it uses all of them
};

}  // namespace fathom
