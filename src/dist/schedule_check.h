#pragma once

#include <cstdint>
#include <vector>

#include "dist/pipeline_schedule.h"

namespace fathom {

/// What a rank has to hold at once.
struct RankLoad {
  std::int64_t in_flight = 0;  // most chunks from the beginning of their forward to their weight gradient
  std::int64_t waiting_weights = 0;  // most chunks with an input gradient and without a weight gradient
};

/// Refuses every list that may not be executed. What passes, whoever made it:
///  - runs each micro-batch's forward, input gradient and weight gradient once on each stage, on the rank
///    that holds it, each after what it needs: the stage before, the stage behind, its own forward;
///  - sends whatever another rank needs once, after computing it, and receives it once, posted before the
///    computation that needs it;
///  - posts receives between two ranks in the order of the sends;
///  - runs to its end, whatever the ranks' speeds, also where a send ends only when its receive is posted;
///  - keeps no rank's chunks in flight above `most_in_flight`.
/// The cost is that of the number of actions.
/// @return  [rank]
/// Throws `Error` that names the first offender: "DualPipe, rank 3, action 17 (backward of micro-batch 2 on
/// stage 3): its gradient has not been received: post the receive before it".
std::vector<RankLoad> check_schedule(const PipelineSchedule& schedule);

}  // namespace fathom
