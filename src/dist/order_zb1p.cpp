#include <algorithm>

#include "dist/compute_order.h"

namespace fathom {

ComputeOrders order_zb1p(const PipelineShape& shape) {
  ComputeOrders orders(static_cast<std::size_t>(shape.ranks()));
  for (std::int32_t rank = 0; rank < shape.ranks(); ++rank) {
    ComputeOrder& order = orders[static_cast<std::size_t>(rank)];
    const std::int32_t waiting = std::min(rank, shape.micro_batches);  // weight gradients
    one_forward_one_backward(
        shape.micro_batches, shape.stages - 1 - rank,
        [&](std::int64_t i) { order.forward(stage_batch(rank, i)); },
        [&](std::int64_t i) {
          order.backward_input(stage_batch(rank, i));
          if (i >= waiting) order.backward_weight(stage_batch(rank, i - waiting));
        });
    for (std::int32_t i = shape.micro_batches - waiting; i < shape.micro_batches; ++i)
      order.backward_weight(stage_batch(rank, i));
  }
  return orders;
}

}  // namespace fathom
