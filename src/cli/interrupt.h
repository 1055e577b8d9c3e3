#pragma once

#include <atomic>

namespace fathom::cli {

/// While it lives, the first Ctrl-C (SIGINT), SIGTERM or SIGUSR1 (which `mpirun` hands on, and batch systems
/// send ahead of a limit) raises a flag instead of ending the program, so that work can end in order; a
/// second one ends the program at once. One at a time.
class InterruptFlag {
 public:
  InterruptFlag();
  ~InterruptFlag();
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;

  [[nodiscard]] const std::atomic<bool>& raised() const;
  /// The signal that raised it; 0: none.
  [[nodiscard]] int signal() const;
};

}  // namespace fathom::cli
