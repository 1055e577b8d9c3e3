#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "cli/interrupt.h"
#include "dist/communicator.h"

namespace fathom::cli {

/// Calls `body` with the processes that `mpirun` started together, or with this one alone. Log messages are
/// the first one's. An exception of one process ends all of them, after a line that names it; what all meet,
/// such as a wrong config, the first one says alone.
void run_in_job(const std::function<void(Communicator& ranks)>& body);

/// Threads for this process where the user gives no number: 0, all of the machine's, or its share of them.
std::size_t default_threads();

/// When one process of a job dies, `mpirun` says which and ends the others, with SIGTERM and soon after with
/// SIGKILL, while they wait for it. In between, while this lives, the first one that is left says where the
/// run can go on from.
class EndWatch {
 public:
  /// Called by all ranks. Keeps a reference to the flag.
  /// @param run  the run folder
  EndWatch(Communicator& ranks, const InterruptFlag& interrupted, std::string run);
  ~EndWatch();
  EndWatch(const EndWatch&) = delete;
  EndWatch& operator=(const EndWatch&) = delete;

 private:
  void watch(const InterruptFlag& interrupted, const std::function<bool()>& is_ours_to_say);

  std::string run_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace fathom::cli
