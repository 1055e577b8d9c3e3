#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "train/batch_plan.h"

namespace fathom {

/// One stretch of a value's course: from one value to another, or always the same one.
struct ScheduleSegment {
  enum class Shape : std::uint8_t { linear, cosine };
  double from = 0;
  double to = 0;
  Shape shape = Shape::linear;
  std::optional<RunPosition> until = {};  // where it ends; none: with the run
};

/// A value over a run: segments one after another. In a config it is a number, or a list such as that of the
/// report's learning rate (section 4.2), where a percentage is a part of the run's tokens:
///
///     [{"from": 0, "to": 2.2e-4, "until": 2000},
///      {"value": 2.2e-4, "until": "67.6%"},
///      {"to": 2.2e-5, "until": "96.6%", "shape": "cosine"},
///      {"value": 2.2e-5, "until": "98.9%"},
///      {"value": 7.3e-6}]
class Schedule {
 public:
  /// The same value always.
  Schedule(double value) : segments_{{value, value}} {}  // NOLINT: a number is a schedule
  explicit Schedule(std::vector<ScheduleSegment> segments) : segments_(std::move(segments)) {}

  [[nodiscard]] bool is_constant() const;
  /// The first segment's first value: the only one of a constant.
  [[nodiscard]] double first() const { return segments_.front().from; }
  [[nodiscard]] const std::vector<ScheduleSegment>& segments() const { return segments_; }

 private:
  std::vector<ScheduleSegment> segments_;  // at least one; all but the last have an end
};

/// A schedule whose segments' ends are step numbers.
class StepSchedule {
 public:
  /// Throws `Error` when a segment ends before the one before it does, or after the run.
  /// @param name  what it is of, for messages: "training.learning_rate"
  StepSchedule(const Schedule& schedule, const BatchPlan& batches, std::string_view name);

  /// Of the step that moves weights from `step` to `step + 1`, 0 <= step. The last step of a segment has its
  /// `to`; the first of n has gone an n-th of the way. After the last segment its `to` holds.
  [[nodiscard]] double at(std::int64_t step) const;

 private:
  std::vector<ScheduleSegment> segments_;
  std::vector<std::int64_t> ends_;  // [segments]
};

/// Reads a place in a run: a whole number of steps, or a part of the tokens as "67.6%".
/// @param name  what it is, for messages: "training.learning_rate[2].until"
RunPosition run_position_from_json(const Json& value, std::string_view name, std::string_view where);
OrderedJson run_position_to_json(const RunPosition& position);

/// Reads a schedule whose values are from `least` to `most`. Throws `Error` naming the segment.
Schedule schedule_from_json(const Json& value, double least, double most, std::string_view name,
                            std::string_view where);
OrderedJson schedule_to_json(const Schedule& schedule);

}  // namespace fathom
