#include "dist/two_way_order.h"

namespace fathom {

ComputeOrders order_dualpipe_v(const PipelineShape& shape) {
  const std::int64_t ranks = shape.ranks();
  ComputeOrders orders;
  for (std::int64_t rank = 0; rank < ranks; ++rank)
    orders.push_back(
        two_way_order(rank, ranks, shape.micro_batches,
                      {ChunkStream{.stage = rank}, ChunkStream{.stage = shape.stages - 1 - rank}}));
  return orders;
}

}  // namespace fathom
