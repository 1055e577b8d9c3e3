#include "cli/process_memory.h"

#include <algorithm>
#include <functional>

#include "model/weights.h"
#include "train/parameter_shards.h"

namespace fathom::cli {
namespace {

constexpr std::uint64_t kFloat = sizeof(float);

std::uint64_t unsigned_of(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

/// Values that the given rows of every parameter have.
std::uint64_t values_of(const std::vector<ParameterSpec>& specs,
                        const std::function<std::int64_t(const ParameterSpec&)>& rows) {
  std::uint64_t values = 0;
  for (const ParameterSpec& spec : specs)
    values += unsigned_of(rows(spec) * (element_count(spec.shape) / spec.shape.front()));
  return values;
}

/// Of a rank's shard, where a shard has so many rows of a parameter.
std::uint64_t moments_of(const std::vector<ParameterSpec>& specs, const TrainingSizes& sizes,
                         const std::function<std::int64_t(const ParameterSpec&)>& rows) {
  const auto counted = [&](const ParameterSpec& spec) {
    const bool has_one =
        sizes.has_muon && (spec.kind == ParameterKind::linear || spec.kind == ParameterKind::expert);
    return (has_one ? 1 : 2) * rows(spec);
  };
  return values_of(specs, counted) * dtype_size(moments_dtype(sizes.precision));
}

/// Others' gradients of the rank's part of the two largest buckets: two are under way at most.
std::uint64_t reduced_bytes(const ParameterShards& shards, int rank) {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  for (const ParameterShards::PlacedBucket& placed : shards.held_by(rank)) {
    const std::vector<std::size_t> bounds = placed.bounds();
    const std::uint64_t own = bounds[placed.own + 1] - bounds[placed.own];
    const std::uint64_t bytes = kFloat * own * (bounds.size() - 2);
    second = std::max(second, std::min(first, bytes));
    first = std::max(first, bytes);
  }
  return first + second;
}

/// What a process takes before it has anything of the run: program, transport and its buffers, as measured.
constexpr std::uint64_t kProcess = 45'000'000;

/// A rank's layers, of how many micro-batches it keeps activations of one of its runs at once, and of how
/// many at most also the gradients that the second half of a split backward pass multiplies them by.
struct Place {
  std::vector<LayerRun> runs;
  std::uint64_t in_flight = 1;
  std::uint64_t deferred = 0;
};

std::uint64_t most_deferred(const PipelineShape& shape, int place) {
  switch (shape.kind) {
    case PipelineKind::zb1p:
      return static_cast<std::uint64_t>(place) + 1;
    case PipelineKind::dualpipe:
      return static_cast<std::uint64_t>(shape.stages - std::min(place, shape.stages - 1 - place));
    case PipelineKind::dualpipe_v:
      return static_cast<std::uint64_t>(shape.stages - place);
    default:
      return 0;
  }
}

/// Gradients of a token in all blocks of a run: as many as a block's backward pass works with.
std::uint64_t deferred_bytes(const ModelConfig& config, const LayerRun& run, Precision precision) {
  const std::int64_t modules = run.has_head(config) ? config.num_nextn_predict_layers : 0;
  std::uint64_t bytes = 0;
  for (std::int64_t layer = run.begin; layer < run.end + modules; ++layer)
    bytes += unsigned_of(block_bytes(config, config.is_moe_layer(layer), precision).working);
  return bytes;
}

Place place_of(const ModelConfig& config, const TrainingSizes& sizes, const ParallelLayout& layout,
               std::int64_t batch_size, int rank) {
  if (!layout.has_pipeline()) return {.runs = {{0, config.num_hidden_layers}}};
  const std::int64_t micro_batches = batch_size / sizes.micro_batch;
  const std::int64_t groups = layout.sequence_groups();
  const std::int64_t own = (micro_batches + groups - 1) / groups;
  const PipelineShape shape = pipeline_shape(layout.options, own);
  const int place = layout.place_of(rank);
  const std::uint64_t in_flight = unsigned_of(most_in_flight(shape, place));
  return {layout.layers[static_cast<std::size_t>(place)], in_flight,
          std::min(in_flight, most_deferred(shape, place))};
}

void add_activations(const ModelConfig& config, const TrainingSizes& sizes, const ParallelLayout& layout,
                     const Place& place, TrainingMemory& memory) {
  const std::int64_t sharers = layout.options.context;
  const std::uint64_t tokens =
      unsigned_of((sizes.micro_batch * sizes.sequence_length + sharers - 1) / sharers);
  const std::uint64_t hidden = unsigned_of(config.hidden_size);
  const std::uint64_t runs = place.runs.size();
  std::uint64_t kept = 0;
  std::uint64_t deferred = 0;
  for (const LayerRun& run : place.runs) {
    const BlockBytes bytes = run_bytes(config, run.begin, run.end, sizes.precision);
    kept += unsigned_of(bytes.kept);
    deferred += deferred_bytes(config, run, sizes.precision);
    memory.work_space = std::max(memory.work_space, unsigned_of(bytes.working) * tokens);
  }
  memory.activations = (place.in_flight * kept + place.deferred * deferred) * tokens / runs;
  const auto has_head = [&](const LayerRun& run) { return run.has_head(config); };
  if (std::ranges::any_of(place.runs, has_head)) {
    const HeadBytes head = head_bytes(config, tokens);
    memory.activations += head.gradient;
    memory.work_space += head.logits;
  }
  // A stage's input and output, in both directions; a token's row for each of its experts there and back.
  if (layout.has_pipeline()) memory.messages += 4 * tokens * hidden * kFloat;
  if (layout.options.experts > 1)
    memory.messages += 2 * tokens * unsigned_of(config.num_experts_per_tok) * hidden * kFloat;
  // Another rank's latents, the next one's, and the sums of gradients that come and go.
  if (sharers > 1) memory.messages += 4 * tokens * unsigned_of(config.latent_dim()) * kFloat;
}

}  // namespace

std::vector<TrainingMemory> process_memory(const ModelConfig& config, OptimizerKind optimizer,
                                           const TrainingSizes& sizes, const ParallelLayout& layout,
                                           std::int64_t batch_size) {
  const std::vector<ParameterSpec> specs = parameter_specs(config);
  const ParameterShards shards(config, optimizer, layout);
  const auto all_rows = [](const ParameterSpec& spec) { return spec.shape.front(); };
  const std::uint64_t parameters = values_of(specs, all_rows);
  const std::uint64_t moments = moments_of(specs, sizes, all_rows);
  const std::uint64_t copies = sizes.has_average ? 2 : 1;
  const std::uint64_t codes = sizes.precision == Precision::fp8 ? 1 : 0;

  std::vector<TrainingMemory> processes;
  std::uint64_t largest_part = 0;  // that the first process receives at a time
  for (int rank = 0; rank < layout.ranks; ++rank) {
    TrainingMemory memory;
    const auto shard_rows = [&](const ParameterSpec& spec) { return shards.rows(spec, rank).count(); };
    const std::uint64_t held = values_of(specs, rows_on(layout, config, rank));
    memory.weights = held * (kFloat + codes);
    memory.gradients = held * kFloat;
    memory.moments = moments_of(specs, sizes, shard_rows);
    if (sizes.has_average) memory.average = held * kFloat;
    memory.messages = kProcess + reduced_bytes(shards, rank);
    add_activations(config, sizes, layout, place_of(config, sizes, layout, batch_size, rank), memory);
    const std::uint64_t part = values_of(specs, shard_rows) * kFloat;
    largest_part = std::max(largest_part, part);
    if (!layout.is_replicated()) memory.gathered = part;
    processes.push_back(memory);
  }
  TrainingMemory& first = processes.front();
  if (layout.ranks > 1)
    first.gathered += moments + largest_part + (layout.is_replicated() ? 0 : copies * parameters * kFloat);
  if (sizes.saves_beside) first.snapshot = copies * parameters * kFloat + moments;
  return processes;
}

}  // namespace fathom::cli
