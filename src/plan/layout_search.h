#pragma once

#include <cstdint>
#include <vector>

#include "plan/training_estimate.h"

namespace fathom {

struct LayoutSearch {
  std::vector<TrainingEstimate> best;  // fastest first, all of which fit
  std::int64_t layouts = 0;            // that there are
  std::int64_t fitting = 0;            // of them, in memory
  std::int64_t simulated = 0;          // the others cannot be among the best, whatever their bubble
};

/// All layouts that could be: pipelines of up to 64 ranks under every schedule (interleaved of 2 to 8 stages
/// a rank), experts over any number of ranks that divides them, 1 to 8 sequences a micro-batch, both kinds of
/// recomputation.
std::vector<TrainingLayout> possible_layouts(const TrainingTask& task, std::int64_t devices);

/// The fastest that fit, by the simulated time of a step. Exact: a layout is left unsimulated only where the
/// work of one rank alone takes longer than the slowest of the best.
/// @param keep  how many to return
LayoutSearch search_layouts(const TrainingEstimator& estimator, std::int64_t devices, std::size_t keep);

}  // namespace fathom
