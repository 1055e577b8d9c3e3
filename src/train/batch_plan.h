#pragma once

#include <cstdint>
#include <optional>

namespace fathom {

/// A place in a run: after so many steps, or after a part of the run's tokens.
struct RunPosition {
  std::int64_t steps = 0;
  std::optional<double> token_percent = {};  // 0 to 100; `steps` says nothing then
};

/// How many sequences each step of a run takes: always as many, or fewer to begin with. The ramp is linear
/// over its steps, rounded down to whole micro-batches (technical report, section 4.2: 3,072 to 15,360 over
/// the first 469B tokens). All of it is a function of the step, so a resumed run takes what an unbroken one
/// does.
class BatchPlan {
 public:
  struct Ramp {
    std::int64_t from = 0;  // sequences of the first step
    RunPosition until;      // from there on, all
  };
  /// @param steps  of the run; `steps` · `batch_size` must be below 2^53
  /// @param unit   sequences in a micro-batch; divides `batch_size` and `ramp->from`
  BatchPlan(std::int64_t steps, std::int64_t batch_size, std::int64_t unit, const std::optional<Ramp>& ramp);

  /// Sequences of the step from `step` to `step + 1`; steps beyond the run take as many as its last.
  [[nodiscard]] std::int64_t batch_size(std::int64_t step) const;
  /// Sequences of all steps before `step`.
  [[nodiscard]] std::int64_t sequences_before(std::int64_t step) const;
  [[nodiscard]] std::int64_t sequences() const { return sequences_before(steps_); }
  [[nodiscard]] std::int64_t steps() const { return steps_; }
  [[nodiscard]] std::int64_t ramp_steps() const { return ramp_steps_; }
  /// How many steps are done there: for a part of the tokens, the first step that reaches it.
  [[nodiscard]] std::int64_t step_at(const RunPosition& position) const;

 private:
  std::int64_t steps_;
  std::int64_t batch_size_;
  std::int64_t unit_;
  std::int64_t first_batch_size_;
  std::int64_t ramp_steps_ = 0;
};

}  // namespace fathom
