#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "model/config.h"
#include "numerics/precision.h"
#include "train/optimizer.h"

namespace fathom {

/// Seconds that the parts of a training step take on this machine, measured on a model of random weights.
struct StepTiming {
  double sequence = 0;  // forward and backward of one sequence
  double update = 0;    // the gradient's norm, the optimizer's pass, and new codes of FP8 weights
};

/// Runs one sequence of random tokens and one update, twice each, and times the second ones.
/// Memory: a step's with a micro-batch of one sequence.
StepTiming time_training_step(const ModelConfig& config, OptimizerKind kind, Precision precision,
                              std::int64_t sequence_length, ThreadPool& pool);

}  // namespace fathom
