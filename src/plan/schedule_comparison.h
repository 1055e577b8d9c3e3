#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plan/schedule_simulator.h"

namespace fathom {

/// A pipeline before the kind of its schedule is chosen.
struct PipelineSizes {
  std::int32_t parallelism = 8;  // stages or ranks
  std::int32_t micro_batches = 20;
  std::int32_t chunks = 2;  // interleaved schedules: stages that a rank holds
  /// What `parallelism` counts. Stages, as the published tables do: times are those of one stage, and kinds
  /// that put two on a rank need fewer ranks. Ranks: times are those of a rank's part of the model, 1/ranks
  /// of it, and kinds that cut it finer have shorter ones (messages stay as long). That compares schedules on
  /// the same machines.
  bool on_ranks = false;
  PipelineTimes times = {};
};

/// What to simulate for one kind. Throws `Error` where no such schedule exists or the times cannot be.
struct PipelineCase {
  PipelineShape shape;
  PipelineTimes times = {};
};
PipelineCase pipeline_case(PipelineKind kind, const PipelineSizes& sizes);

/// One kind's step, or why there is none.
struct ComparedSchedule {
  PipelineKind kind = PipelineKind::one_f_one_b;
  std::optional<SimulatedStep> step;
  std::string refusal;
};

/// Simulates all five kinds. Throws `Error` where the times cannot be; what a kind refuses is in its place.
std::vector<ComparedSchedule> compare_schedules(const PipelineSizes& sizes);

}  // namespace fathom
