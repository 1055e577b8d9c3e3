#include "plan/rank_memory.h"

#include <algorithm>

#include "dist/rank_stages.h"
#include "numerics/block_scale.h"

namespace fathom {
namespace {

constexpr double kF32 = sizeof(float);
constexpr double kBf16 = 2;

/// Sums over the units of a rank's stages.
struct Held {
  double linear = 0;  // parameters
  double other = 0;
  double unsplit = 0;  // of both, what all tensor-parallel ranks hold
  double experts = 0;  // on this rank
  double kept = 0;     // activations of one token in all the stages
  double working = 0;  // the most of a unit
};

Held held_by(const TrainingTask& task, const TrainingLayout& layout, std::span<const ModelUnit> units,
             std::span<const std::size_t> first, std::span<const std::size_t> stages) {
  Held held;
  for (const std::size_t stage : stages)
    for (const ModelUnit& unit : units.subspan(first[stage], first[stage + 1] - first[stage])) {
      held.linear += unit.linear_on(layout.tp);
      held.other += unit.other_on(layout.tp);
      held.unsplit += static_cast<double>(unit.unsplit_parameters());
      held.experts += static_cast<double>(unit.expert_parameters) / layout.ep;
      // Computed again whole, a block keeps its input; the rest of it is work space while that lasts.
      const bool is_full = layout.recompute == Recompute::full && unit.is_block;
      const auto kept = static_cast<double>(unit.kept_bytes);
      held.kept += is_full ? static_cast<double>(task.model.hidden_size) * kBf16 : kept;
      held.working = std::max(held.working, static_cast<double>(unit.working_bytes) + (is_full ? kept : 0.0));
    }
  return held;
}

/// MTP modules, on the last stage, look tokens up too: a copy of the embedding where the first is elsewhere.
double embedding_copy(const TrainingTask& task, const PipelineShape& shape,
                      std::span<const std::size_t> stages) {
  const auto holds = [&](std::size_t stage) { return std::ranges::find(stages, stage) != stages.end(); };
  const bool needs = task.model.num_nextn_predict_layers > 0 &&
                     holds(static_cast<std::size_t>(shape.stages) - 1) && !holds(0);
  return needs ? static_cast<double>(task.model.vocab_size * task.model.hidden_size) : 0;
}

double weight_bytes(Precision precision, double maps, double others) {
  switch (precision) {
    case Precision::f32:
      return kF32 * (maps + others);
    case Precision::bf16:
      return kBf16 * (maps + others);
    case Precision::fp8:
      break;
  }
  constexpr double kScales = kF32 / (128.0 * 128.0);
  return (1 + kScales) * maps + kBf16 * others;
}

}  // namespace

RankMemory rank_memory(const TrainingTask& task, const TrainingLayout& layout, const PipelineShape& shape,
                       std::span<const ModelUnit> units, std::span<const std::size_t> first) {
  const double gathered_tokens = static_cast<double>(layout.micro_batch) *
                                 static_cast<double>(task.sequence_length) / layout.cp;  // by its tp ranks
  const double tokens = gathered_tokens / layout.tp;
  const auto hidden = static_cast<double>(task.model.hidden_size);
  const double moments = 2.0 * static_cast<double>(dtype_size(moments_dtype(task.precision)));
  const double states = moments + (task.precision == Precision::f32 ? 0 : kF32);
  constexpr double kLogits = 8 << 20;  // values of the head's slice (model/head.h)

  const auto holders = static_cast<double>(layout.layer_ranks());
  RankMemory most;
  const auto ranks = stages_of_ranks(shape);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    Held held = held_by(task, layout, units, first, ranks[rank]);
    held.other += embedding_copy(task, shape, ranks[rank]) / layout.tp;
    const double dense = held.linear + held.other;
    RankMemory memory;
    memory.weights = weight_bytes(task.precision, held.linear + held.experts, held.other);
    memory.gradients = kF32 * (dense + held.experts);
    memory.optimizer =
        states * ((dense - held.unsplit) * layout.tp + held.unsplit + held.experts * layout.ep) / holders;
    const auto in_flight = static_cast<double>(most_in_flight(shape, static_cast<std::int32_t>(rank)));
    memory.activations = in_flight * held.kept / static_cast<double>(ranks[rank].size()) * tokens;
    memory.work_space = held.working * tokens + kLogits * kF32;
    // A feed-forward network's input and its gradient, of all tokens.
    if (layout.tp > 1) memory.work_space += 2 * gathered_tokens * hidden * kF32;
    if (layout.ep > 1)
      memory.buffers += 2 * tokens * static_cast<double>(task.model.num_experts_per_tok) * hidden *
                        (task.precision == Precision::fp8 ? 1 + kBf16 : 2 * kBf16);
    // Latents of two ranks, one at work and one on its way, and their gradients.
    if (layout.cp > 1)
      memory.buffers += 2 * gathered_tokens * static_cast<double>(task.model.latent_dim()) * (kBf16 + kF32);
    if (shape.ranks() > 1) memory.buffers += 4 * tokens * hidden * kBf16;  // both ways, sent and received
    if (memory.total() > most.total()) most = memory;
  }
  return most;
}

}  // namespace fathom
