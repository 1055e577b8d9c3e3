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

struct SearchLimits {
  std::int64_t tp = 8;         // ranks, at most: those of a node
  std::int64_t tokens = 4096;  // of a micro-batch, that a rank has at least where tokens are cut
};

/// All layouts that could be: pipelines of up to 64 ranks under every schedule (interleaved of 2 to 8 stages
/// a rank), tensor parallelism inside nodes, sequences over up to 64 ranks, experts over any number of ranks
/// that divides them, 1 to 8 sequences a micro-batch, both kinds of recomputation. Sequences are cut only
/// where a micro-batch is one of them, as whole ones need no exchange.
std::vector<TrainingLayout> possible_layouts(const TrainingTask& task, std::int64_t devices,
                                             const SearchLimits& limits);

/// The fastest that fit, by the simulated time of a step. Exact: a layout is left unsimulated only where the
/// work of one rank alone takes longer than the slowest of the best.
/// @param keep  how many to return
/// @param least_tokens  `SearchLimits::tokens`. 4,096 are those that the efficiency of linear maps was
///                      calibrated with; how much slower products of fewer are is not modelled
LayoutSearch search_layouts(const TrainingEstimator& estimator, std::int64_t devices, std::size_t keep,
                            std::int64_t least_tokens = 4096);

}  // namespace fathom
