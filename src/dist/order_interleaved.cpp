#include <algorithm>
#include <optional>

#include "dist/compute_order.h"

namespace fathom {
namespace {

/// The order in which every rank takes its slots' chunks forward. A group that is not full keeps its empty
/// places: leaving chunks out of an order that ends cannot make it wait for ever, and closing up can.
class Turns {
 public:
  explicit Turns(const PipelineShape& shape)
      : ranks_(shape.ranks()), slots_(shape.stages_per_rank), micro_batches_(shape.micro_batches) {}

  [[nodiscard]] std::int64_t count() const {
    return (micro_batches_ + ranks_ - 1) / ranks_ * ranks_ * slots_;
  }
  [[nodiscard]] std::int64_t slot(std::int64_t turn) const { return turn % (ranks_ * slots_) / ranks_; }
  [[nodiscard]] std::optional<std::int64_t> micro_batch(std::int64_t turn) const {
    const std::int64_t batch = turn / (ranks_ * slots_) * ranks_ + turn % ranks_;
    return batch < micro_batches_ ? std::optional(batch) : std::nullopt;
  }
  /// How many of the first turns are not empty.
  [[nodiscard]] std::int64_t taken(std::int64_t turns) const {
    const std::int64_t before = std::min(turns / (ranks_ * slots_) * ranks_, micro_batches_);
    const std::int64_t group = std::min(ranks_, micro_batches_ - before);
    const std::int64_t rest = turns % (ranks_ * slots_);
    return before * slots_ + rest / ranks_ * group + std::min(rest % ranks_, group);
  }

 private:
  std::int64_t ranks_;
  std::int64_t slots_;
  std::int64_t micro_batches_;
};

/// Turns of forwards before the first of backwards.
std::int64_t turns_ahead(const PipelineShape& shape, std::int32_t rank) {
  const std::int64_t ranks = shape.ranks();
  return 2 * (ranks - rank - 1) + (shape.stages_per_rank - 1) * ranks;
}

}  // namespace

ComputeOrders order_interleaved(const PipelineShape& shape) {
  const std::int64_t ranks = shape.ranks();
  const Turns turns(shape);
  ComputeOrders orders(static_cast<std::size_t>(ranks));
  for (std::int32_t rank = 0; rank < ranks; ++rank) {
    ComputeOrder& order = orders[static_cast<std::size_t>(rank)];
    const auto forward = [&](std::int64_t turn) {
      if (const auto batch = turns.micro_batch(turn))
        order.forward(stage_batch(turns.slot(turn) * ranks + rank, *batch));
    };
    const auto backward = [&](std::int64_t turn) {  // begins with the last slot
      if (const auto batch = turns.micro_batch(turn))
        order.backward(stage_batch((shape.stages_per_rank - 1 - turns.slot(turn)) * ranks + rank, *batch));
    };
    one_forward_one_backward(turns.count(), turns_ahead(shape, rank), forward, backward);
  }
  return orders;
}

std::int64_t interleaved_in_flight(const PipelineShape& shape, std::int32_t rank) {
  return Turns(shape).taken(turns_ahead(shape, rank) + 1);
}

}  // namespace fathom
