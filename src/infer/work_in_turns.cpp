#include "infer/work_in_turns.h"

#include <future>

#include "base/progress.h"

namespace fathom {

void WorkInTurns::Side::count_from_here() {
  const std::scoped_lock lock(turns_.mutex_);
  turns_.seconds_[static_cast<std::size_t>(which_)] = 0;
  turns_.began_[static_cast<std::size_t>(which_)] = monotonic_seconds();
}

void WorkInTurns::Side::pass_on() {
  turns_.leave(which_, false);
  turns_.await(which_);
}

void WorkInTurns::await(int which) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return whose_ == which; });
  began_[static_cast<std::size_t>(which)] = monotonic_seconds();
}

void WorkInTurns::leave(int which, bool is_at_end) {
  const double now = monotonic_seconds();
  const auto side = static_cast<std::size_t>(which);
  const std::scoped_lock lock(mutex_);
  seconds_[side] += now - began_[side];
  has_ended_[side] = is_at_end;
  if (!has_ended_[1 - side]) whose_ = 1 - which;
  changed_.notify_all();
}

std::array<double, 2> WorkInTurns::run(const std::array<Way, 2>& ways, int first) {
  WorkInTurns turns(first);
  std::array<std::future<void>, 2> ends;
  for (int which = 0; which < 2; ++which)
    ends[static_cast<std::size_t>(which)] = std::async(std::launch::async, [&turns, &ways, which] {
      turns.await(which);
      Side side(turns, which);
      // The other way waits for this one, also where it fails.
      struct End {
        WorkInTurns& turns;
        int which;
        ~End() { turns.leave(which, true); }
      } const end{turns, which};
      ways[static_cast<std::size_t>(which)](side);
    });
  for (std::future<void>& end : ends) end.wait();
  for (std::future<void>& end : ends) end.get();
  return turns.seconds_;
}

}  // namespace fathom
