#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "infer/drafter.h"

namespace fathom {

/// How likely the drafts of one text are to be accepted, by the drafter's grade and by place, from what
/// became of its drafts before; what is long ago counts less.
class AcceptanceEstimate {
 public:
  /// @param expected  part of first drafts of the lowest grade, before any has been seen
  explicit AcceptanceEstimate(double expected);

  /// [count] of the first draft, of the first two, and so on: that all of them are accepted.
  [[nodiscard]] std::vector<double> chain(std::int64_t grade, std::int64_t count) const;
  /// @param offered   drafts that were checked
  /// @param accepted  the first ones of them
  void record(std::int64_t grade, std::int64_t offered, std::int64_t accepted);

 private:
  struct Counts {
    double offered = 0;  // where all drafts before were accepted
    double accepted = 0;
  };
  double expected_;
  std::array<std::vector<Counts>, Drafter::kGrades> counts_;  // by place
};

/// How drafts of one text fared, and what that allows.
///
/// It keeps an account of what drafting gained and lost against passes without, so that no chance need be
/// taken that the account does not cover: an answer whose drafts are all refused takes at most `kAllowedLoss`
/// more time, and that of `kAllowedStake` tokens. The unit is the time that a token of the text would have
/// taken without drafts, which in a pass over many texts is the text's share of it.
class DraftHistory {
 public:
  static constexpr double kAllowedLoss = 0.012;
  static constexpr double kAllowedStake = 1.5;

  /// @param expected_acceptance  see `Drafter::expected_acceptance`
  explicit DraftHistory(double expected_acceptance) : acceptance_(expected_acceptance) {}

  /// See `AcceptanceEstimate::chain`.
  [[nodiscard]] std::vector<double> chain(std::int64_t grade, std::int64_t count) const {
    return acceptance_.chain(grade, count);
  }
  /// Whether a step that takes so much more time than one without drafts, in tokens' time, may be tried, were
  /// it to no avail.
  [[nodiscard]] bool covers(double extra) const { return extra <= balance_; }
  /// Where drafting does not pay, it is tried again ever more rarely.
  [[nodiscard]] bool is_time_to_try() const { return steps_without_ >= patience_; }

  /// What became of a step.
  struct Step {
    std::int64_t grade = 0;
    std::int64_t checked = 0;  // drafts
    std::int64_t accepted = 0;
    double extra = 0;  // time that it took more than one without drafts, in tokens' time
  };
  void record(const Step& step);

 private:
  static constexpr std::int64_t kFirstPatience = 8;

  AcceptanceEstimate acceptance_;
  double balance_ = kAllowedStake;  // gained less lost
  std::int64_t steps_without_ = 0;  // since drafts were last checked
  std::int64_t patience_ = kFirstPatience;
};

}  // namespace fathom
