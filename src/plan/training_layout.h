#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dist/pipeline_schedule.h"
#include "model/config.h"
#include "numerics/precision.h"

namespace fathom {

/// What is kept of a block from forward to backward.
enum class Recompute : std::uint8_t {
  selective,  // as `fathom train` and the technical report: norms, up-projections, SwiGLU are computed again
  full,       // the block's input alone: its whole forward pass is computed again
};

/// How a model is spread over devices. Experts are spread over groups of `ep` data-parallel ranks; optimizer
/// states over all that hold the same parameters (ZeRO-1).
struct TrainingLayout {
  PipelineKind schedule = PipelineKind::dualpipe;
  std::int32_t pp = 1;      // ranks of a pipeline
  std::int32_t chunks = 1;  // stages on a rank, of interleaved schedules
  std::int32_t ep = 1;
  std::int32_t dp = 1;           // pipelines
  std::int32_t micro_batch = 1;  // sequences
  Recompute recompute = Recompute::selective;

  [[nodiscard]] std::int64_t devices() const { return std::int64_t{pp} * dp; }
};

/// How many ranks hold each of a stage's parameters that are not an expert's: those of all pipelines, and in
/// DualPipe those of both directions.
std::int64_t parameter_holders(const TrainingLayout& layout);

/// What is trained, whatever the layout.
struct TrainingTask {
  ModelConfig model;
  std::int64_t sequence_length = 4096;
  std::int64_t batch = 15360;  // sequences of one step
  double tokens = 14.8e12;     // in all
  Precision precision = Precision::fp8;
};

/// The pipeline of one step. Throws `Error` that says what does not fit: the batch not a multiple of
/// dp · micro_batch, experts not of ep, ep not a divisor of dp, no such schedule.
PipelineShape pipeline_of(const TrainingTask& task, const TrainingLayout& layout);

/// "pp=16,ep=64,dp=128,schedule=dualpipe,chunks=2,micro-batch=1,recompute=selective", in any order. What is
/// left out: pp, ep, micro-batch 1, selective; the schedule is DualPipe where pp is even and 1F1B elsewhere;
/// dp is the devices that are left.
/// Throws `Error` that names the part it cannot read.
TrainingLayout parse_layout(std::string_view text, std::int64_t devices);
std::string layout_text(const TrainingLayout& layout);

}  // namespace fathom
