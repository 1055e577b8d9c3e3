#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "plan/model_units.h"
#include "plan/network.h"
#include "plan/schedule_simulator.h"
#include "plan/training_layout.h"

namespace fathom {

/// Seconds that one token takes in a unit's forward pass, alone on a device: the roofline's two parts added,
/// operations at the efficiency that the hardware file states, and inputs and outputs through memory.
struct UnitSeconds {
  double linear = 0;
  double expanded = 0;  // of it, keys and values from the latent
  double attention = 0;
  double moved = 0;

  [[nodiscard]] double forward() const { return linear + attention + moved; }
};
UnitSeconds unit_seconds(const ModelUnit& unit, const Hardware& hardware, Precision precision);

/// What one chunk (a micro-batch on a stage) takes, without anything that it waits for.
struct ChunkSeconds {
  double forward = 0;  // computing; of a context-parallel rank, also keys and values of others' latents
  double backward_input = 0;  // computing; the forward pass again where all is recomputed
  double backward_weight = 0;
  double traffic_forward = 0;  // all-to-all of its experts
  double traffic_backward = 0;
  double tensor_forward = 0;  // collectives of tensor-parallel ranks
  double tensor_backward = 0;
  double context_forward = 0;  // what attention waits for latents of other ranks
  double context_backward = 0;
};

/// Of the rank that takes longest, the mean of its stages: that is what a full pipeline runs at.
ChunkSeconds chunk_seconds(const TrainingTask& task, const TrainingLayout& layout, const PipelineShape& shape,
                           const Hardware& hardware, std::span<const ModelUnit> units,
                           std::span<const std::size_t> first);

/// For the simulator. All-to-all stands in the way of a chunk alone; in an overlapped pair it travels while
/// the other chunk computes, which costs `overlap_cost` of the computing, unless waiting is cheaper. What
/// tensor and context parallelism wait for stands in the way of both.
PipelineTimes pipeline_times(const ChunkSeconds& chunk, const TrainingTask& task,
                             const TrainingLayout& layout, const Hardware& hardware);

/// After the pipeline: gradients to the ranks that hold their optimizer states, new weights back (ZeRO-1),
/// and the states' own update. Nothing of it is taken as overlapped.
struct UpdateSeconds {
  RingSeconds exchange;  // FP32 gradients and narrow weights, of dense parameters and of experts, added
  double optimizer = 0;

  [[nodiscard]] double total() const { return exchange.total + optimizer; }
};
UpdateSeconds update_seconds(const TrainingTask& task, const TrainingLayout& layout,
                             const PipelineShape& shape, const Hardware& hardware,
                             std::span<const ModelUnit> units, std::span<const std::size_t> first);

}  // namespace fathom
