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

/// How a model is spread over devices. Of one stage's ranks, `tp` share its heads, feed-forward columns and
/// vocabulary, and between those maps each has the tp-th part of the tokens (sequence parallelism, arXiv
/// 2205.05198); `cp` have each two pieces of every sequence, one from either end, as causal attention has
/// more work at the end; `dp` have sequences of their own. Whole experts are spread over groups of `ep` of
/// all these, optimizer states over all that hold the same parameters (ZeRO-1).
///
/// Devices are numbered with tp innermost, then cp, dp, and pp outermost: what talks most is nearest. The ep
/// ranks of a group follow one another.
struct TrainingLayout {
  PipelineKind schedule = PipelineKind::dualpipe;
  std::int32_t pp = 1;      // ranks of a pipeline
  std::int32_t chunks = 1;  // stages on a rank, of interleaved schedules
  std::int32_t tp = 1;
  std::int32_t cp = 1;
  std::int32_t ep = 1;
  std::int32_t dp = 1;           // pipelines with sequences of their own
  std::int32_t micro_batch = 1;  // sequences
  Recompute recompute = Recompute::selective;

  /// That compute one stage.
  [[nodiscard]] std::int64_t stage_ranks() const { return std::int64_t{tp} * cp * dp; }
  [[nodiscard]] std::int64_t devices() const { return pp * stage_ranks(); }
  /// That have the same layers: in DualPipe those of both directions.
  [[nodiscard]] std::int64_t layer_ranks() const {
    return stage_ranks() * (schedule == PipelineKind::dualpipe ? 2 : 1);
  }
};

/// What is trained, whatever the layout.
struct TrainingTask {
  ModelConfig model;
  std::int64_t sequence_length = 4096;
  std::int64_t batch = 15360;  // sequences of one step
  double tokens = 14.8e12;     // in all
  Precision precision = Precision::fp8;
};

/// The pipeline of one step. Throws `Error` that says what does not fit: the batch not a multiple of
/// dp · micro_batch, heads or widths not of tp, sequences not of tp and 2 cp, experts not of ep, ep not a
/// divisor of tp · cp · dp, no such schedule.
PipelineShape pipeline_of(const TrainingTask& task, const TrainingLayout& layout);

/// "pp=16,tp=2,cp=2,ep=64,dp=32,schedule=dualpipe,chunks=2,micro-batch=1,recompute=selective", in any order.
/// What is left out: pp, tp, cp, ep, micro-batch 1, selective; the schedule is DualPipe where pp is even and
/// 1F1B elsewhere; dp is the devices that are left. Throws `Error` that names the part it cannot read.
TrainingLayout parse_layout(std::string_view text, std::int64_t devices);
std::string layout_text(const TrainingLayout& layout);

}  // namespace fathom
