#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/machine_memory.h"
#include "base/thread_pool.h"
#include "dist/communicator.h"
#include "plan/training_cost.h"
#include "train/step_probe.h"
#include "train/trainer.h"
#include "train/training_plan.h"

namespace fathom::cli {

/// Where a process is.
struct ProcessMachine {
  std::uint64_t node = 0;  // as `Communicator::node`
  MachineMemory memory;
};
/// Of all processes, the same on each. [processes]
std::vector<ProcessMachine> machines_of(Communicator& ranks);

/// What a run will take, worked out before it begins; for the whole run, though it may be resumed.
struct RunForecast {
  TrainedParameters parameters;

  std::vector<TrainingMemory> memory;  // [processes]
  struct Machine {
    int first = 0;  // of its processes, which follow one another
    int processes = 1;
    std::uint64_t peak = 0;  // of all of them
    MachineMemory memory;
  };
  std::vector<Machine> machines;

  TrainingFlops flops_per_token;
  std::int64_t tokens_per_step = 0;  // of the last step
  std::int64_t tokens = 0;           // of the run

  std::int64_t data_tokens = 0;  // of the training split

  struct Time {
    StepTiming timing;
    double training = 0;    // seconds of the run's steps
    double evaluation = 0;  // and of its evaluations
  };
  std::optional<Time> time;  // absent where the model does not fit into memory, or nobody asked

  std::uint64_t checkpoint_bytes = 0;
  std::int64_t checkpoints = 0;  // on the disk at a time, at most
  std::uint64_t disk_free = 0;

  struct Point {
    std::int64_t step = 0;  // steps done before it
    TrainingPlan::Step plan;
  };
  std::vector<Point> schedule;  // from the first step to the last

  [[nodiscard]] double epochs() const {
    return static_cast<double>(tokens) / static_cast<double>(data_tokens);
  }
};

/// @param machines  of all processes (`machines_of`)
/// @param measure   whether to time a sequence and an update, which takes the memory of a step and the time
/// of
///                  two of each
/// Throws `Error` where model, data and training do not fit, as `train` does.
RunForecast forecast_run(const TrainOptions& options, const std::vector<ProcessMachine>& machines,
                         bool measure, ThreadPool& pool);

/// Throws `Error` when the processes of a machine cannot fit into it, were it ever so empty.
void require_memory(const RunForecast& forecast);

/// One line for the start of a run.
std::string brief_text(const RunForecast& forecast);
/// A page for people.
std::string forecast_text(const RunForecast& forecast);
OrderedJson forecast_json(const RunForecast& forecast);

}  // namespace fathom::cli
