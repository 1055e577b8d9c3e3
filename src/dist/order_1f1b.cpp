#include "dist/compute_order.h"

namespace fathom {

ComputeOrders order_1f1b(const PipelineShape& shape) {
  ComputeOrders orders(static_cast<std::size_t>(shape.ranks()));
  for (std::int32_t rank = 0; rank < shape.ranks(); ++rank) {
    ComputeOrder& order = orders[static_cast<std::size_t>(rank)];
    one_forward_one_backward(
        shape.micro_batches, shape.stages - 1 - rank,
        [&](std::int64_t i) { order.forward(stage_batch(rank, i)); },
        [&](std::int64_t i) { order.backward(stage_batch(rank, i)); });
  }
  return orders;
}

}  // namespace fathom
