#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "infer/drafter.h"
#include "infer/step_cost.h"

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

/// Decides how many tokens to draft for one text, and how many of the drafts to check: as many as promise
/// most tokens a second, by what drafts and passes cost and by how drafts of this text fared. Where drafting
/// does not pay, the text goes on without, and is tried again ever more rarely.
///
/// It keeps an account of what drafting gained and lost against passes over one token each, and never takes a
/// chance that the account does not cover: an answer whose drafts are all refused takes at most
/// `kAllowedLoss` more time, and that of `kAllowedStake` passes.
class DraftLength {
 public:
  static constexpr double kAllowedLoss = 0.012;
  static constexpr double kAllowedStake = 1.5;

  /// Keeps a reference.
  /// @param most      drafts at a time
  /// @param adaptive  false: always `most`
  DraftLength(const StepCost& cost, double expected_acceptance, std::int64_t most, bool adaptive = true);

  /// How many tokens to draft, at most `room`.
  /// @param others  tokens of other texts in the pass, which share its cost
  [[nodiscard]] std::int64_t to_draft(std::int64_t room, std::int64_t others = 0) const;
  /// How many of them to check, of a grade.
  [[nodiscard]] std::int64_t to_check(std::int64_t drafted, std::int64_t grade,
                                      std::int64_t others = 0) const;

  /// What became of a step.
  struct Step {
    std::int64_t drafted = 0;
    std::int64_t grade = 0;
    std::int64_t checked = 0;
    std::int64_t accepted = 0;
    std::int64_t others = 0;
    double drafting = 0;  // what the drafts cost, in passes over one token
  };
  void record(const Step& step);

 private:
  /// Whether a step that costs so much more than one without drafts may be tried, were it to no avail.
  [[nodiscard]] bool is_covered(double extra) const;
  /// The length up to `chain`'s that gives most tokens a second.
  [[nodiscard]] std::int64_t best(std::span<const double> chain, bool is_drafted, std::int64_t others) const;
  [[nodiscard]] bool is_time_to_try() const { return steps_without_ >= patience_; }

  const StepCost& cost_;
  AcceptanceEstimate acceptance_;
  std::int64_t most_;
  bool adaptive_;
  double balance_ = kAllowedStake;  // gained less lost, in passes over one token without others
  std::int64_t steps_without_ = 0;  // since drafts were last checked
  std::int64_t patience_ = kFirstPatience;
  static constexpr std::int64_t kFirstPatience = 8;
};

}  // namespace fathom
