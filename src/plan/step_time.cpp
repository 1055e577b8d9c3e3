#include "plan/step_time.h"

#include <algorithm>
#include <array>

#include "dist/rank_stages.h"
#include "plan/expert_traffic.h"

namespace fathom {
namespace {

constexpr double kWide = 2;  // bytes of a BF16 value

double value_bytes(Precision precision) {
  return precision == Precision::f32 ? sizeof(float) : kWide;
}

/// Of a micro-batch, in all parts of the model that are cut by tokens.
double tokens_of_rank(const TrainingTask& task, const TrainingLayout& layout) {
  return static_cast<double>(layout.micro_batch) * static_cast<double>(task.sequence_length) /
         (static_cast<double>(layout.tp) * layout.cp);
}

/// Reading a unit's weights once, of which experts are spread: a floor under the time of its linear maps.
double weights_seconds(const ModelUnit& unit, const TrainingLayout& layout, const Hardware& hardware,
                       Precision precision) {
  const double stored = precision == Precision::fp8 ? 1 : value_bytes(precision);
  const double parameters =
      unit.linear_on(layout.tp) + static_cast<double>(unit.expert_parameters) / layout.ep;
  return stored * parameters / (hardware.memory_bandwidth * hardware.efficiency.memory);
}

constexpr std::array kChunkParts = {
    &ChunkSeconds::forward,         &ChunkSeconds::backward_input,   &ChunkSeconds::backward_weight,
    &ChunkSeconds::traffic_forward, &ChunkSeconds::traffic_backward, &ChunkSeconds::tensor_forward,
    &ChunkSeconds::tensor_backward, &ChunkSeconds::context_forward,  &ChunkSeconds::context_backward};

ChunkSeconds& operator+=(ChunkSeconds& sum, const ChunkSeconds& one) {
  for (const auto part : kChunkParts) sum.*part += one.*part;
  return sum;
}

ChunkSeconds scaled(ChunkSeconds seconds, double factor) {
  for (const auto part : kChunkParts) seconds.*part *= factor;
  return seconds;
}

double whole(const ChunkSeconds& seconds) {
  double sum = 0;
  for (const auto part : kChunkParts) sum += seconds.*part;
  return sum;
}

/// Tensor-parallel collectives of so many values a token, nothing of which is taken as overlapped.
double gathering_seconds(const TrainingTask& task, const TrainingLayout& layout, const Hardware& hardware,
                         std::int64_t values, std::int32_t collectives) {
  if (layout.tp == 1 || collectives == 0) return 0;
  const double bytes =
      tokens_of_rank(task, layout) * layout.tp * static_cast<double>(values) * value_bytes(task.precision);
  const RingSeconds ring = ring_seconds(hardware, {.size = layout.tp}, bytes);
  return ring.total + (collectives - 1) * ring.latency;
}

/// What passing latents round costs attention, per layer: each pass travels while what came before is worked
/// on, the rest is waited for. `bytes` of a row.
double context_seconds(const TrainingTask& task, const TrainingLayout& layout, const Hardware& hardware,
                       double bytes, double attention) {
  if (layout.cp == 1) return 0;
  const double rows = tokens_of_rank(task, layout) * layout.tp;
  const double pass = neighbour_seconds(hardware, {.size = layout.cp, .stride = layout.tp},
                                        rows * bytes * static_cast<double>(task.model.latent_dim()));
  return (layout.cp - 1) * std::max(0.0, pass - attention / layout.cp);
}

}  // namespace

UnitSeconds unit_seconds(const ModelUnit& unit, const Hardware& hardware, Precision precision) {
  const HardwareEfficiency& efficiency = hardware.efficiency;
  // The head is not of FP8 (technical report, section 3.3.1).
  const Precision maps = precision == Precision::fp8 && !unit.is_block ? Precision::bf16 : precision;
  const double core = precision == Precision::f32 ? hardware.f32_flops : hardware.bf16_flops;
  return {unit.linear_flops / (hardware.flops(maps) * efficiency.gemm),
          unit.expanded_flops / (hardware.flops(maps) * efficiency.gemm),
          unit.attention_flops / (core * efficiency.attention),
          unit.moved_values * value_bytes(precision) / (hardware.memory_bandwidth * efficiency.memory)};
}

ChunkSeconds chunk_seconds(const TrainingTask& task, const TrainingLayout& layout, const PipelineShape& shape,
                           const Hardware& hardware, std::span<const ModelUnit> units,
                           std::span<const std::size_t> first) {
  // Attention's scores are computed again in its backward pass: five products for the forward's two.
  constexpr double kAttentionBackward = 2.5;
  const double row_bytes = value_bytes(task.precision);  // of latents; their gradients travel in FP32
  const double tokens = tokens_of_rank(task, layout);
  const double traffic =
      traffic_seconds(expert_traffic(task.model, layout.ep, hardware.devices_per_node, task.precision),
                      tokens, {.size = layout.ep}, hardware);
  const auto unit_chunk = [&](const ModelUnit& unit) {
    const UnitSeconds token = unit_seconds(unit, hardware, task.precision);
    const double linear =
        std::max(tokens * token.linear, weights_seconds(unit, layout, hardware, task.precision));
    // Every rank of a sequence expands the others' latents, too.
    const double expanded = (layout.cp - 1) * tokens * token.expanded;
    const double moved = tokens * token.moved;
    const double attention = tokens * token.attention;
    const double sent = unit.is_moe ? traffic : 0;
    const double gathered = gathering_seconds(task, layout, hardware, unit.gathered_values, unit.gatherings);
    const double passed = unit.is_block ? context_seconds(task, layout, hardware, row_bytes, attention) : 0;
    const double forward = linear + expanded + attention + moved;
    ChunkSeconds one = {
        .forward = forward,
        .backward_input = linear + expanded + kAttentionBackward * attention + moved,
        .backward_weight = linear + expanded + moved,
        .traffic_forward = sent,
        .traffic_backward = sent,
        .tensor_forward = gathered,
        .tensor_backward =
            gathered + gathering_seconds(task, layout, hardware, unit.regathered_values, unit.regatherings),
        .context_forward = passed,
        .context_backward = unit.is_block ? context_seconds(task, layout, hardware, row_bytes + sizeof(float),
                                                            kAttentionBackward * attention)
                                          : 0};
    if (layout.recompute == Recompute::full && unit.is_block) {
      one.backward_input += forward;
      one.traffic_backward += sent;
      one.tensor_backward += gathered;
      one.context_backward += passed;
    }
    return one;
  };
  const auto stage_seconds = [&](std::size_t stage) {
    ChunkSeconds sum;
    for (const ModelUnit& unit : units.subspan(first[stage], first[stage + 1] - first[stage]))
      sum += unit_chunk(unit);
    return sum;
  };
  ChunkSeconds slowest;
  for (const std::vector<std::size_t>& stages : stages_of_ranks(shape)) {
    ChunkSeconds sum;
    for (const std::size_t stage : stages) sum += stage_seconds(stage);
    const ChunkSeconds mean = scaled(sum, 1.0 / static_cast<double>(stages.size()));
    if (whole(mean) > whole(slowest)) slowest = mean;
  }
  return slowest;
}

PipelineTimes pipeline_times(const ChunkSeconds& chunk, const TrainingTask& task,
                             const TrainingLayout& layout, const Hardware& hardware) {
  PipelineTimes times;
  const double waits_forward = chunk.tensor_forward + chunk.context_forward;
  const double waits_backward = chunk.tensor_backward + chunk.context_backward;
  times.forward = chunk.forward + chunk.traffic_forward + waits_forward;
  times.weight = chunk.backward_weight;
  times.backward = chunk.backward_input + chunk.traffic_backward + waits_backward + chunk.backward_weight;
  const double computing = chunk.forward + chunk.backward_input + chunk.backward_weight;
  const double traffic = chunk.traffic_forward + chunk.traffic_backward;
  times.forward_backward =
      std::min(times.forward + times.backward,
               std::max(computing / (1 - hardware.overlap_cost), traffic) + waits_forward + waits_backward);
  times.communication =
      neighbour_seconds(hardware, {.size = layout.pp, .stride = layout.stage_ranks()},
                        tokens_of_rank(task, layout) * static_cast<double>(task.model.hidden_size) *
                            value_bytes(task.precision));
  return times;
}

UpdateSeconds update_seconds(const TrainingTask& task, const TrainingLayout& layout,
                             const PipelineShape& shape, const Hardware& hardware,
                             std::span<const ModelUnit> units, std::span<const std::size_t> first) {
  const std::int64_t holders = layout.layer_ranks();
  const RankGroup unsplit_group = {.size = holders};
  const RankGroup split_group = {.size = holders / layout.tp, .stride = layout.tp};
  const RankGroup expert_group = {.size = holders / layout.ep, .stride = layout.ep};
  // FP32 weights and two moments read and written, gradients read.
  const double state_bytes =
      2 * (sizeof(float) + 2.0 * static_cast<double>(dtype_size(moments_dtype(task.precision)))) +
      sizeof(float);
  UpdateSeconds most;
  for (const std::vector<std::size_t>& stages : stages_of_ranks(shape)) {
    double unsplit = 0;
    double split = 0;
    double experts = 0;
    for (const std::size_t stage : stages)
      for (const ModelUnit& unit : units.subspan(first[stage], first[stage + 1] - first[stage])) {
        unsplit += static_cast<double>(unit.unsplit_parameters());
        split += static_cast<double>(unit.dense_parameters() - unit.unsplit_parameters()) / layout.tp;
        experts += static_cast<double>(unit.expert_parameters) / layout.ep;
      }
    UpdateSeconds one;
    for (const double bytes : {static_cast<double>(sizeof(float)), value_bytes(task.precision)}) {
      one.exchange += ring_seconds(hardware, split_group, bytes * (layout.tp > 1 ? split : split + unsplit));
      if (layout.tp > 1) one.exchange += ring_seconds(hardware, unsplit_group, bytes * unsplit);
      one.exchange += ring_seconds(hardware, expert_group, bytes * experts);
    }
    one.optimizer = state_bytes * (split * layout.tp + unsplit + experts * layout.ep) /
                    static_cast<double>(holders) / (hardware.memory_bandwidth * hardware.efficiency.memory);
    if (one.total() > most.total()) most = one;
  }
  return most;
}

}  // namespace fathom
