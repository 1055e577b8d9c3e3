#pragma once

#include <string_view>
#include <vector>

#include "dist/pipeline_schedule.h"
#include "dist/schedule_check.h"
#include "dist/timed_action.h"

namespace fathom {

/// How long one chunk takes, in any unit; the same for every stage.
struct PipelineTimes {
  double forward = 1;
  double backward = 2;          // whole: input and weight gradients
  double weight = 1;            // of it, the weight gradients
  double forward_backward = 3;  // a forward and a whole backward, overlapped
  double communication = 0;     // from both ends having posted a message to its arrival
};

/// Throws `Error` unless all are finite, a forward and an overlapped pair take time, weight gradients take at
/// most the whole backward, and communication is not negative.
void check_times(const PipelineTimes& times);

/// One step on ideal ranks: computing takes its time, messages pass one another freely and while ranks
/// compute.
struct SimulatedStep {
  PipelineShape shape;
  PipelineTimes times;
  std::vector<std::vector<TimedAction>> computed;  // [rank] what computes, in order
  std::vector<double> busy;                        // [rank] time spent computing
  std::vector<RankLoad> loads;                     // [rank]
  double makespan = 0;

  [[nodiscard]] double idle(std::size_t rank) const { return makespan - busy[rank]; }
  /// The largest idle time of a rank: what the closed forms state.
  [[nodiscard]] double bubble() const;
  /// Idle part of all ranks' time.
  [[nodiscard]] double idle_fraction() const;
};

/// Checks the schedule (dist/schedule_check.h), then executes it as dist/pipeline_schedule.h says, in time
/// that grows with the number of actions.
SimulatedStep simulate_schedule(const PipelineSchedule& schedule, const PipelineTimes& times);
SimulatedStep simulate_schedule(const PipelineShape& shape, const PipelineTimes& times);

/// The published bubble of a schedule, beside what `SimulatedStep::bubble` measures. Without communication
/// the two are equal, whatever the times:
///  - 1F1B: (PP-1)(F+B), always;
///  - interleaved: (ranks-1)(F+B), F and B those of one of a rank's v stages, where groups are full
///    (micro-batches are a multiple of the ranks);
///  - ZB1P: (PP-1)(F+B-2W) where W <= min(F, B-W) and the pipeline fills (micro-batches >= PP). Longer weight
///    gradients fill their gaps whole, and what is left is (PP-1) max(F, B-W);
///  - DualPipe, DualPipeV: (PP/2-1)(F&B+B-3W) where F = B-W >= W, with any F&B, and for PP = 2. Elsewhere
///    it is an approximation, in either direction.
struct BubbleFormula {
  std::string_view text;  // "(PP-1)(F+B)"
  double value = 0;
  bool exact = false;  // one of the conditions above holds
};
BubbleFormula bubble_formula(const PipelineShape& shape, const PipelineTimes& times);

}  // namespace fathom
