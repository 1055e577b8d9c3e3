#pragma once

#include <cstdint>

namespace fathom {

/// The learning rate over a run, as in the report (section 4.2): linear from 0 to `peak` over `warmup_steps`,
/// constant, then a cosine from `peak` to `floor` over the last `decay_steps` of `steps`.
struct LearningRateSchedule {
  double peak = 0;
  double floor = 0;
  std::int64_t warmup_steps = 0;
  std::int64_t decay_steps = 0;  // warm-up and decay together take at most `steps`
  std::int64_t steps = 0;

  /// Of the step that moves weights from `step` to `step + 1`, 0 <= step. The first step of the warm-up has
  /// peak / warmup_steps, the last one `peak`; the last step of all has `floor`, and so have any after it.
  [[nodiscard]] double at(std::int64_t step) const;
};

}  // namespace fathom
