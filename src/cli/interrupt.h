#pragma once

#include <atomic>

namespace fathom::cli {

/// While it lives, the first Ctrl-C (SIGINT) or SIGTERM raises a flag instead of ending the program, so that
/// work can end in order; a second one ends the program at once. One at a time.
class InterruptFlag {
 public:
  InterruptFlag();
  ~InterruptFlag();
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;

  [[nodiscard]] const std::atomic<bool>& raised() const;
};

}  // namespace fathom::cli
