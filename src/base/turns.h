#pragma once

#include <functional>

namespace fathom {

/// Two pieces of work that wait for messages now and then and compute in between: one computes while the
/// other's messages travel.
///
/// A turn ends only where its side waits (`Turns::wait`) or ends, and then the other side has it until it
/// does the same. So at any time one side runs alone, and what each does in which turn depends on the two
/// alone, never on when a message arrives: several processes that run the same pair begin their messages in
/// the same order.
class Turns {
 public:
  /// Runs both, `first` on the calling thread and first, `second` on a thread of its own, and returns when
  /// both have ended. When one throws, the other is ended where it waits or would begin, by an exception from
  /// there; then what was thrown first is thrown here.
  static void run(const std::function<void()>& first, const std::function<void()>& second);

  /// Calls `awaited.wait()`; a side of two that take turns lets the other have its turn before.
  template <typename Awaited>
  static void wait(Awaited&& awaited) {
    hand_over();
    awaited.wait();
  }

 private:
  /// Returns when the other side has had its turn; at once on a thread that takes none.
  static void hand_over();
};

}  // namespace fathom
