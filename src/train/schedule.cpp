#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace fathom {

bool Schedule::is_constant() const {
  return segments_.size() == 1 && segments_.front().from == segments_.front().to;
}

StepSchedule::StepSchedule(const Schedule& schedule, const BatchPlan& batches, std::string_view name)
    : segments_(schedule.segments()) {
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const std::optional<RunPosition>& until = segments_[i].until;
    const std::int64_t end = until ? batches.step_at(*until) : batches.steps();
    require(end <= batches.steps(), "{}: segment {} ends after step {}, training.steps is {}", name, i + 1,
            end, batches.steps());
    require(end >= begin, "{}: segment {} ends after step {}, the one before it after step {}", name, i + 1,
            end, begin);
    ends_.push_back(end);
    begin = end;
  }
}

double StepSchedule::at(std::int64_t step) const {
  const auto found = std::upper_bound(ends_.begin(), ends_.end(), step);
  if (found == ends_.end()) return segments_.back().to;
  const auto i = static_cast<std::size_t>(found - ends_.begin());
  const ScheduleSegment& segment = segments_[i];
  const std::int64_t begin = i == 0 ? 0 : ends_[i - 1];
  const double done = static_cast<double>(step + 1 - begin) / static_cast<double>(ends_[i] - begin);
  if (segment.shape == ScheduleSegment::Shape::cosine)
    return segment.to + (segment.from - segment.to) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return segment.from + (segment.to - segment.from) * done;
}

}  // namespace fathom
