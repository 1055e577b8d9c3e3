#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "dist/pipeline_schedule.h"

namespace fathom {

/// The stages that each rank of a pipeline holds, by the schedule's own placing of chunks. [rank][...]
std::vector<std::vector<std::size_t>> stages_of_ranks(const PipelineShape& shape);

}  // namespace fathom
