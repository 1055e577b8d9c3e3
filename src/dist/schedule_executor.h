#pragma once

#include <cstddef>
#include <vector>

#include "dist/communicator.h"
#include "dist/pipeline_schedule.h"
#include "dist/stage_work.h"
#include "dist/timed_action.h"

namespace fathom {

/// Executes one rank's list of a pipeline schedule, as dist/pipeline_schedule.h says: the very list that
/// `fathom plan` draws.
class ScheduleExecutor {
 public:
  /// Keeps a reference to the ranks, which no one else may use under tag 0 while a step runs.
  /// Throws `Error` for a schedule that `check_schedule` refuses, or for another number of ranks.
  ScheduleExecutor(PipelineSchedule schedule, Communicator& ranks);

  /// One step: all of this rank's actions in their order. Returns when its messages have gone and come, and
  /// throws what `work` or the transport throws. A rank that fails leaves messages under way, so that its
  /// process has to end, and with it the others.
  /// @param record  if wanted: receives what computed, in order, with its times in seconds of the steady
  /// clock,
  ///                from when its messages had arrived
  void run(StageWork& work, std::vector<TimedAction>* record = nullptr) const;

  [[nodiscard]] const PipelineShape& shape() const { return schedule_.shape; }
  [[nodiscard]] const std::vector<Action>& actions() const {
    return schedule_.actions[static_cast<std::size_t>(ranks_.rank())];
  }

 private:
  PipelineSchedule schedule_;
  Communicator& ranks_;
};

}  // namespace fathom
