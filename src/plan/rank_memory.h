#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "plan/model_units.h"
#include "plan/training_layout.h"

namespace fathom {

/// Bytes on one device, by what they are for.
struct RankMemory {
  double weights = 0;  // as computing reads them: FP8 maps in blocks with scales, BF16 the rest; or BF16, F32
  double gradients = 0;    // summed in FP32 over a step's micro-batches
  double optimizer = 0;    // FP32 weights where computing has narrower ones, and moments; sharded (ZeRO-1)
  double activations = 0;  // of all chunks in flight
  double work_space = 0;   // of the block under way, and the head's slice
  double buffers = 0;      // all-to-all of a forward and a backward at once, messages of the pipeline

  [[nodiscard]] double total() const {
    return weights + gradients + optimizer + activations + work_space + buffers;
  }
};

/// Of the rank that needs most.
/// @param units  the model's (plan/model_units.h)
/// @param first  where stages begin (dist/stage_split.h)
RankMemory rank_memory(const TrainingTask& task, const TrainingLayout& layout, const PipelineShape& shape,
                       std::span<const ModelUnit> units, std::span<const std::size_t> first);

}  // namespace fathom
