#include <algorithm>

#include "dist/two_way_order.h"

namespace fathom {

ComputeOrders order_dualpipe(const PipelineShape& shape) {
  const std::int64_t stages = shape.stages;
  const std::int64_t each_way = shape.micro_batches / 2;
  ComputeOrders orders;
  for (std::int64_t rank = 0; rank < stages; ++rank) {
    const ChunkStream onwards = {.stage = rank, .first_micro_batch = 0};
    const ChunkStream back = {.stage = stages - 1 - rank, .first_micro_batch = each_way};
    const bool first_half = rank < stages / 2;
    orders.push_back(two_way_order(std::min(rank, stages - 1 - rank), stages / 2, each_way,
                                   {first_half ? onwards : back, first_half ? back : onwards}));
  }
  return orders;
}

}  // namespace fathom
