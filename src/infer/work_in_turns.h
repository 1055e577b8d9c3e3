#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace fathom {

/// Times two ways to do the same work while they take turns every few milliseconds, so that whatever else the
/// machine does meets both alike. Each way runs on a thread of its own, only one at a time, and says itself
/// where its turn may end.
class WorkInTurns {
 public:
  /// What a way is given.
  class Side {
   public:
    /// Of the way's own time, what was before this does not count. Called while it is its turn.
    void count_from_here();
    /// Lets the other way have its turn, and returns when that has ended; called from any thread.
    void pass_on();

   private:
    friend class WorkInTurns;
    Side(WorkInTurns& turns, int which) : turns_(turns), which_(which) {}
    WorkInTurns& turns_;
    int which_;
  };
  using Way = std::function<void(Side&)>;

  /// Runs both to their ends. Throws what either throws.
  /// @param first  0 or 1, which begins
  /// @return  seconds of each
  static std::array<double, 2> run(const std::array<Way, 2>& ways, int first);

 private:
  explicit WorkInTurns(int first) : whose_(first) {}

  void await(int which);
  void leave(int which, bool is_at_end);

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by it.
  int whose_;
  std::array<bool, 2> has_ended_{};
  std::array<double, 2> began_{};  // of the turn under way
  std::array<double, 2> seconds_{};
};

}  // namespace fathom
