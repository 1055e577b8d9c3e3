#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fathom {

double LearningRateSchedule::at(std::int64_t step) const {
  if (step < warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const std::int64_t decayed = step - (steps - decay_steps) + 1;  // decay steps done, with this one
  if (decayed <= 0 || decay_steps == 0) return peak;
  const double done = std::min(1.0, static_cast<double>(decayed) / static_cast<double>(decay_steps));
  return floor + (peak - floor) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace fathom
