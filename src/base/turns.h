#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace fathom {

/// Two pieces of work that wait for messages now and then and compute in between: one computes while the
/// other's messages travel.
///
/// At any time one side runs alone. A turn ends where its side waits (`Turns::wait`) or ends; one that waits
/// goes on as soon as what it waits for has come and the other side waits too, or has ended. Which side goes
/// first then depends on what comes first, so that each side's messages must be told from the other's by the
/// transport, and no result may depend on the order of the two.
class Turns {
 public:
  /// Runs both, `first` on the calling thread and first, `second` on a thread of its own, and returns when
  /// both have ended. When one throws, the other is ended where it has waited or would begin, by an exception
  /// from there; then what was thrown first is thrown here.
  static void run(const std::function<void()>& first, const std::function<void()>& second);

  /// When nobody computed, in seconds of the steady clock.
  struct Idle {
    double begin = 0;
    double end = 0;
  };
  /// From now on notes when this thread waits, and while it takes turns, when both sides do. Null: no more.
  static void note_idle(std::vector<Idle>* spans);

  /// Calls `awaited.wait()`; of two sides that take turns the other may compute meanwhile.
  template <typename Awaited>
  static void wait(Awaited&& awaited) {
    give_up();
    try {
      std::forward<Awaited>(awaited).wait();
    } catch (...) {
      take_back();
      throw;
    }
    take_back();
    end_with_the_other();
  }

 private:
  static void give_up();
  static void take_back();
  /// Throws when there is another side and it has failed.
  static void end_with_the_other();
};

}  // namespace fathom
