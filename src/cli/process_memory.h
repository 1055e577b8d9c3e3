#pragma once

#include <cstdint>
#include <vector>

#include "plan/training_cost.h"
#include "train/parallel_layout.h"
#include "train/training_config.h"

namespace fathom::cli {

/// What training takes on each process of a job, by what the layout puts there (docs/distributed.md): weights
/// and gradients of its layers and experts, moments of its shard, activations of all micro-batches that its
/// schedule has in flight, others' gradients on their way, and for a checkpoint what the first gathers. A few
/// percent less than is taken (docs/distributed.md has the measurements). [ranks], two or more
/// @param sizes       of a forward pass
/// @param batch_size  sequences of a step
std::vector<TrainingMemory> process_memory(const ModelConfig& config, OptimizerKind optimizer,
                                           const TrainingSizes& sizes, const ParallelLayout& layout,
                                           std::int64_t batch_size);

}  // namespace fathom::cli
