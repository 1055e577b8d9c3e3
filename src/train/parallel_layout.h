#pragma once

#include <cstdint>
#include <vector>

#include "dist/pipeline_schedule.h"
#include "model/config.h"
#include "model/stage.h"
#include "model/weights.h"

namespace fathom {

/// How the ranks of a job are to share a model out.
struct ParallelOptions {
  int pipeline = 1;  // ranks that hold different layers
  PipelineKind schedule = PipelineKind::zb1p;
  int stages_per_rank = 1;  // of interleaved schedules
  int experts = 1;          // ranks that hold different routed experts of the same layers
  int context = 1;          // ranks that work on different tokens of the same sequences
  /// Whether messages travel while ranks compute: those of DualPipe's pairs, and gradients that are summed
  /// up.
  bool overlap = true;
};

/// Who holds what. Ranks are numbered so that those which share experts out follow one another, then those
/// which hold the same layers: with R replicas of each place in the pipeline, rank p · R + r is place p of
/// replica r, and the experts of its layers lie on the E = `experts` ranks from p · R + r / E · E on, spread
/// as dist/expert_exchange.h says; C = `context` replicas that follow one another share sequences. What a
/// checkpoint holds depends on none of it.
struct ParallelLayout {
  int ranks = 1;
  ParallelOptions options = {};
  /// [places in the pipeline] what each holds; empty: no pipeline.
  std::vector<std::vector<LayerRun>> layers = {};

  [[nodiscard]] bool has_pipeline() const { return !layers.empty(); }
  /// Every rank holds every parameter.
  [[nodiscard]] bool is_replicated() const { return !has_pipeline() && options.experts == 1; }
  /// How many ranks, or pipelines, take different tokens of a step.
  [[nodiscard]] int replicas() const { return ranks / options.pipeline; }
  /// How many groups of them take different sequences.
  [[nodiscard]] int sequence_groups() const { return replicas() / options.context; }
  [[nodiscard]] int place_of(int rank) const { return rank / replicas(); }
  [[nodiscard]] int replica_of(int rank) const { return rank % replicas(); }
  [[nodiscard]] int sequence_group_of(int rank) const { return replica_of(rank) / options.context; }
  /// The rank's place among those that share its sequences.
  [[nodiscard]] int context_place_of(int rank) const { return replica_of(rank) % options.context; }
};

/// Throws `Error` where such a layout cannot be, or cannot be of this model.
ParallelLayout make_layout(int ranks, const ParallelOptions& options, const ModelConfig& config);

/// The layout's pipeline for a step of at least so many micro-batches: as many, or where its schedule needs
/// more, those; the rest then have no tokens.
PipelineShape pipeline_shape(const ParallelOptions& options, std::int64_t micro_batches);

/// The ranks that hold a parameter, ascending.
std::vector<int> holders_of(const ParallelLayout& layout, const ModelConfig& config,
                            const ParameterSpec& spec);

/// All rows of what a rank holds, none of the rest. Keeps no reference.
RowsKept rows_on(const ParallelLayout& layout, const ModelConfig& config, int rank);

}  // namespace fathom
