#pragma once

#include "dist/pipeline_schedule.h"

namespace fathom::test {

/// Whether a schedule of that kind exists, by the published conditions: schedules from two ends want an even
/// number of stages and enough micro-batches to fill them, DualPipe as many each way.
inline bool pipeline_exists(PipelineKind kind, std::int32_t stages, std::int32_t micro_batches) {
  switch (kind) {
    case PipelineKind::dualpipe:
      return stages % 2 == 0 && micro_batches % 2 == 0 && micro_batches >= 2 * stages;
    case PipelineKind::dualpipe_v:
      return stages % 2 == 0 && micro_batches >= stages;
    default:
      return true;
  }
}

}  // namespace fathom::test
