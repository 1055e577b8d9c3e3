#include "plan/schedule_comparison.h"

#include "base/error.h"

namespace fathom {
namespace {

/// Stages that lie on one rank, each micro-batch going through all of them.
std::int32_t stages_a_rank(PipelineKind kind, const PipelineSizes& sizes) {
  switch (kind) {
    case PipelineKind::interleaved:
      return sizes.chunks;
    case PipelineKind::dualpipe_v:
      return 2;
    default:
      return 1;
  }
}

}  // namespace

PipelineCase pipeline_case(PipelineKind kind, const PipelineSizes& sizes) {
  constexpr std::int32_t kMost = 4096;  // products stay in range; `check_shape` says the rest
  require(sizes.parallelism >= 1 && sizes.parallelism <= kMost, "{}: a pipeline of {}: take 1 to {}",
          pipeline_kind_title(kind), sizes.parallelism, kMost);
  require(sizes.chunks >= 1 && sizes.chunks <= kMost, "{}: {} chunks on a rank: take 1 to {}",
          pipeline_kind_title(kind), sizes.chunks, kMost);
  check_times(sizes.times);
  const std::int32_t parts = sizes.on_ranks ? stages_a_rank(kind, sizes) : 1;
  PipelineCase result = {.shape = {.kind = kind,
                                   .stages = sizes.parallelism * parts,
                                   .micro_batches = sizes.micro_batches,
                                   .stages_per_rank = kind == PipelineKind::interleaved ? sizes.chunks : 1},
                         .times = sizes.times};
  result.times.forward /= parts;
  result.times.backward /= parts;
  result.times.weight /= parts;
  result.times.forward_backward /= parts;
  check_shape(result.shape);
  return result;
}

std::vector<ComparedSchedule> compare_schedules(const PipelineSizes& sizes) {
  check_times(sizes.times);
  std::vector<ComparedSchedule> all;
  for (const PipelineKind kind : kPipelineKinds) {
    ComparedSchedule& one = all.emplace_back();
    one.kind = kind;
    PipelineCase pipeline;
    try {
      pipeline = pipeline_case(kind, sizes);
    } catch (const Error& error) {
      one.refusal = error.what();
      continue;
    }
    one.step = simulate_schedule(pipeline.shape, pipeline.times);
  }
  return all;
}

}  // namespace fathom
