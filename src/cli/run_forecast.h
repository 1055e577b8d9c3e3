#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "plan/training_cost.h"
#include "train/step_probe.h"
#include "train/trainer.h"
#include "train/training_plan.h"

namespace fathom::cli {

/// What a run will take, worked out before it begins; for the whole run, though it may be resumed.
struct RunForecast {
  TrainedParameters parameters;

  TrainingMemory memory;
  std::uint64_t memory_available = 0;   // of this machine, now
  std::uint64_t memory_of_machine = 0;  // all of it, swap included; 0: not known

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

/// @param measure  whether to time a sequence and an update, which takes the memory of a step and the time of
///                 two of each
/// Throws `Error` where model, data and training do not fit, as `train` does.
RunForecast forecast_run(const TrainOptions& options, bool measure, ThreadPool& pool);

/// Throws `Error` when the run cannot fit into this machine, were it ever so empty.
void require_memory(const RunForecast& forecast);

/// One line for the start of a run.
std::string brief_text(const RunForecast& forecast);
/// A page for people.
std::string forecast_text(const RunForecast& forecast);
OrderedJson forecast_json(const RunForecast& forecast);

}  // namespace fathom::cli
