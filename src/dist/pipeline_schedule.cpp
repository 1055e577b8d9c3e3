#include "dist/pipeline_schedule.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "dist/compute_order.h"
#include "dist/schedule_messages.h"

namespace fathom {
namespace {

constexpr std::int32_t kMostStages = 4096;
constexpr std::int32_t kMostMicroBatches = 32767;  // StageBatch counts in 16 bits
constexpr std::int64_t kMostChunks = std::int64_t{1} << 22U;

struct KindNames {
  std::string_view name;
  std::string_view title;
};

KindNames names_of(PipelineKind kind) {
  switch (kind) {
    case PipelineKind::one_f_one_b:
      return {"1f1b", "1F1B"};
    case PipelineKind::interleaved:
      return {"interleaved", "Interleaved 1F1B"};
    case PipelineKind::zb1p:
      return {"zb1p", "ZB1P"};
    case PipelineKind::dualpipe:
      return {"dualpipe", "DualPipe"};
    case PipelineKind::dualpipe_v:
      return {"dualpipev", "DualPipeV"};
  }
  fail("schedule kind {} is not known", static_cast<int>(kind));
}

void check_two_way(const PipelineShape& shape) {
  const std::int64_t least_micro_batches = fitting_micro_batches(shape.kind, shape.stages);
  require(shape.stages % 2 == 0, "{}: {} stages cannot be halved: take an even number",
          pipeline_kind_title(shape.kind), shape.stages);
  require(shape.micro_batches >= least_micro_batches,
          "{}: {} micro-batches do not fill {} stages: take at least {}", pipeline_kind_title(shape.kind),
          shape.micro_batches, shape.stages, least_micro_batches);
}

ComputeOrders orders_of(const PipelineShape& shape) {
  switch (shape.kind) {
    case PipelineKind::one_f_one_b:
      return order_1f1b(shape);
    case PipelineKind::interleaved:
      return order_interleaved(shape);
    case PipelineKind::zb1p:
      return order_zb1p(shape);
    case PipelineKind::dualpipe:
      return order_dualpipe(shape);
    case PipelineKind::dualpipe_v:
      return order_dualpipe_v(shape);
  }
  fail("schedule kind {} is not known", static_cast<int>(shape.kind));
}

}  // namespace

std::string_view pipeline_kind_name(PipelineKind kind) {
  return names_of(kind).name;
}

std::string_view pipeline_kind_title(PipelineKind kind) {
  return names_of(kind).title;
}

std::optional<PipelineKind> pipeline_kind_named(std::string_view name) {
  for (const PipelineKind kind : kPipelineKinds)
    if (names_of(kind).name == name) return kind;
  return std::nullopt;
}

std::int32_t PipelineShape::slots() const {
  switch (kind) {
    case PipelineKind::interleaved:
      return stages_per_rank;
    case PipelineKind::dualpipe:
    case PipelineKind::dualpipe_v:
      return 2;
    default:
      return 1;
  }
}

std::int32_t PipelineShape::slot_of(StageBatch chunk) const {
  switch (kind) {
    case PipelineKind::interleaved:
      return chunk.stage / ranks();
    case PipelineKind::dualpipe:
      return chunk.micro_batch < micro_batches / 2 ? 0 : 1;
    case PipelineKind::dualpipe_v:
      return chunk.stage < stages / 2 ? 0 : 1;
    default:
      return 0;
  }
}

std::int64_t fitting_micro_batches(PipelineKind kind, std::int64_t stages, std::int64_t at_least) {
  switch (kind) {
    case PipelineKind::dualpipe:  // as many in each direction
      return std::max((at_least + 1) / 2 * 2, 2 * stages);
    case PipelineKind::dualpipe_v:
      return std::max(at_least, stages);
    default:
      return at_least;
  }
}

void check_shape(const PipelineShape& shape) {
  const std::string_view title = pipeline_kind_title(shape.kind);
  require(shape.stages >= 1 && shape.stages <= kMostStages, "{}: {} stages: take 1 to {}", title,
          shape.stages, kMostStages);
  require(shape.micro_batches >= 1 && shape.micro_batches <= kMostMicroBatches,
          "{}: {} micro-batches: take 1 to {}", title, shape.micro_batches, kMostMicroBatches);
  require(std::int64_t{shape.stages} * shape.micro_batches <= kMostChunks,
          "{}: {} stages times {} micro-batches are more than {} chunks: take fewer", title, shape.stages,
          shape.micro_batches, kMostChunks);
  require(shape.kind == PipelineKind::interleaved || shape.stages_per_rank == 1,
          "{}: stages per rank can be chosen for interleaved schedules alone, not {}", title,
          shape.stages_per_rank);
  switch (shape.kind) {
    case PipelineKind::interleaved:
      require(shape.stages_per_rank >= 1 && shape.stages % shape.stages_per_rank == 0,
              "{}: {} stages do not make whole ranks of {}: take a multiple", title, shape.stages,
              shape.stages_per_rank);
      break;
    case PipelineKind::dualpipe:
      check_two_way(shape);
      require(fitting_micro_batches(shape.kind, shape.stages, shape.micro_batches) == shape.micro_batches,
              "{}: {} micro-batches do not make two equal directions: take an even number", title,
              shape.micro_batches);
      break;
    case PipelineKind::dualpipe_v:
      check_two_way(shape);
      break;
    case PipelineKind::one_f_one_b:
    case PipelineKind::zb1p:
      break;
  }
}

std::string_view action_kind_name(ActionKind kind) {
  switch (kind) {
    case ActionKind::forward:
      return "forward";
    case ActionKind::backward:
      return "backward";
    case ActionKind::backward_input:
      return "input backward";
    case ActionKind::backward_weight:
      return "weight backward";
    case ActionKind::forward_backward:
      return "overlapped forward";
    case ActionKind::send_activation:
      return "send activation";
    case ActionKind::send_gradient:
      return "send gradient";
    case ActionKind::receive_activation:
      return "receive activation";
    case ActionKind::receive_gradient:
      return "receive gradient";
  }
  return "unknown action";
}

std::string action_text(const Action& action) {
  std::string text = fmt::format("{} of micro-batch {} on stage {}", action_kind_name(action.kind),
                                 action.chunk.micro_batch, action.chunk.stage);
  if (action.kind == ActionKind::forward_backward)
    text += fmt::format(" with backward of micro-batch {} on stage {}", action.backward_chunk.micro_batch,
                        action.backward_chunk.stage);
  if (action.sends()) text += fmt::format(" to rank {}", action.peer);
  if (action.receives()) text += fmt::format(" from rank {}", action.peer);
  return text;
}

PipelineSchedule make_schedule(const PipelineShape& shape) {
  check_shape(shape);
  return with_messages(shape, orders_of(shape));
}

std::int64_t most_in_flight(const PipelineShape& shape, std::int32_t rank) {
  const std::int64_t ranks = shape.ranks();
  const std::int64_t micro_batches = shape.micro_batches;
  switch (shape.kind) {
    case PipelineKind::one_f_one_b:
      return std::min(micro_batches, ranks - rank);
    case PipelineKind::interleaved:
      return interleaved_in_flight(shape, rank);
    case PipelineKind::zb1p:
      return std::min(micro_batches, ranks);
    case PipelineKind::dualpipe:
    case PipelineKind::dualpipe_v:
      return shape.stages + 1;
  }
  fail("schedule kind {} is not known", static_cast<int>(shape.kind));
}

}  // namespace fathom
