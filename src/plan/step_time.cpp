#include "plan/step_time.h"

#include <algorithm>

#include "dist/rank_stages.h"
#include "plan/expert_traffic.h"

namespace fathom {
namespace {

constexpr double kWide = 2;  // bytes of a BF16 value

double value_bytes(Precision precision) {
  return precision == Precision::f32 ? sizeof(float) : kWide;
}

double tokens_of(const TrainingTask& task, const TrainingLayout& layout) {
  return static_cast<double>(layout.micro_batch) * static_cast<double>(task.sequence_length);
}

/// Reading a unit's weights once, of which experts are spread: a floor under the time of its linear maps.
double weights_seconds(const ModelUnit& unit, const TrainingLayout& layout, const Hardware& hardware,
                       Precision precision) {
  const double stored = precision == Precision::fp8 ? 1 : value_bytes(precision);
  const double parameters =
      static_cast<double>(unit.linear_parameters) + static_cast<double>(unit.expert_parameters) / layout.ep;
  return stored * parameters / (hardware.memory_bandwidth * hardware.efficiency.memory);
}

ChunkSeconds& operator+=(ChunkSeconds& sum, const ChunkSeconds& one) {
  sum.forward += one.forward;
  sum.backward_input += one.backward_input;
  sum.backward_weight += one.backward_weight;
  sum.traffic_forward += one.traffic_forward;
  sum.traffic_backward += one.traffic_backward;
  return sum;
}

ChunkSeconds scaled(ChunkSeconds seconds, double factor) {
  seconds.forward *= factor;
  seconds.backward_input *= factor;
  seconds.backward_weight *= factor;
  seconds.traffic_forward *= factor;
  seconds.traffic_backward *= factor;
  return seconds;
}

double whole(const ChunkSeconds& seconds) {
  return seconds.forward + seconds.backward_input + seconds.backward_weight + seconds.traffic_forward +
         seconds.traffic_backward;
}

}  // namespace

UnitSeconds unit_seconds(const ModelUnit& unit, const Hardware& hardware, Precision precision) {
  const HardwareEfficiency& efficiency = hardware.efficiency;
  // The head is not of FP8 (technical report, section 3.3.1).
  const Precision maps = precision == Precision::fp8 && !unit.is_block ? Precision::bf16 : precision;
  const double core = precision == Precision::f32 ? hardware.f32_flops : hardware.bf16_flops;
  return {unit.linear_flops / (hardware.flops(maps) * efficiency.gemm),
          unit.attention_flops / (core * efficiency.attention),
          unit.moved_values * value_bytes(precision) / (hardware.memory_bandwidth * efficiency.memory)};
}

ChunkSeconds chunk_seconds(const TrainingTask& task, const TrainingLayout& layout, const PipelineShape& shape,
                           const Hardware& hardware, std::span<const ModelUnit> units,
                           std::span<const std::size_t> first) {
  // Attention's scores are computed again in its backward pass: five products for the forward's two.
  constexpr double kAttentionBackward = 2.5;
  const double tokens = tokens_of(task, layout);
  const double traffic =
      traffic_seconds(expert_traffic(task.model, layout.ep, hardware.devices_per_node, task.precision),
                      tokens, {.size = layout.ep}, hardware);
  const auto stage_seconds = [&](std::size_t stage) {
    ChunkSeconds sum;
    for (const ModelUnit& unit : units.subspan(first[stage], first[stage + 1] - first[stage])) {
      const UnitSeconds token = unit_seconds(unit, hardware, task.precision);
      const double linear =
          std::max(tokens * token.linear, weights_seconds(unit, layout, hardware, task.precision));
      const double moved = tokens * token.moved;
      const double attention = tokens * token.attention;
      const double sent = unit.is_moe ? traffic : 0;
      const bool again = layout.recompute == Recompute::full && unit.is_block;
      sum += {.forward = linear + attention + moved,
              .backward_input = linear + kAttentionBackward * attention + moved +
                                (again ? linear + attention + moved : 0.0),
              .backward_weight = linear + moved,
              .traffic_forward = sent,
              .traffic_backward = again ? 2 * sent : sent};
    }
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
  times.forward = chunk.forward + chunk.traffic_forward;
  times.weight = chunk.backward_weight;
  times.backward = chunk.backward_input + chunk.traffic_backward + chunk.backward_weight;
  const double computing = chunk.forward + chunk.backward_input + chunk.backward_weight;
  const double traffic = chunk.traffic_forward + chunk.traffic_backward;
  times.forward_backward =
      std::min(times.forward + times.backward, std::max(computing / (1 - hardware.overlap_cost), traffic));
  times.communication = neighbour_seconds(
      hardware, {.size = layout.pp, .stride = layout.dp},
      tokens_of(task, layout) * static_cast<double>(task.model.hidden_size) * value_bytes(task.precision));
  return times;
}

UpdateSeconds update_seconds(const TrainingTask& task, const TrainingLayout& layout,
                             const PipelineShape& shape, const Hardware& hardware,
                             std::span<const ModelUnit> units, std::span<const std::size_t> first) {
  const std::int64_t holders = parameter_holders(layout);
  const RankGroup dense_group = {.size = holders};
  const RankGroup expert_group = {.size = holders / layout.ep, .stride = layout.ep};
  // FP32 weights and two moments read and written, gradients read.
  const double state_bytes =
      2 * (sizeof(float) + 2.0 * static_cast<double>(dtype_size(moments_dtype(task.precision)))) +
      sizeof(float);
  UpdateSeconds most;
  for (const std::vector<std::size_t>& stages : stages_of_ranks(shape)) {
    double dense = 0;
    double experts = 0;
    for (const std::size_t stage : stages)
      for (const ModelUnit& unit : units.subspan(first[stage], first[stage + 1] - first[stage])) {
        dense += static_cast<double>(unit.dense_parameters());
        experts += static_cast<double>(unit.expert_parameters) / layout.ep;
      }
    UpdateSeconds one;
    for (const double bytes : {static_cast<double>(sizeof(float)), value_bytes(task.precision)}) {
      one.exchange += ring_seconds(hardware, dense_group, bytes * dense);
      one.exchange += ring_seconds(hardware, expert_group, bytes * experts);
    }
    one.optimizer = state_bytes * (dense + experts * layout.ep) / static_cast<double>(holders) /
                    (hardware.memory_bandwidth * hardware.efficiency.memory);
    if (one.total() > most.total()) most = one;
  }
  return most;
}

}  // namespace fathom
