#pragma once

#include <array>

#include "dist/compute_order.h"

namespace fathom {

/// The chunks of one of the two streams that meet on a rank.
struct ChunkStream {
  std::int64_t stage = 0;
  std::int64_t first_micro_batch = 0;
};

/// What one rank of DualPipe or DualPipeV computes, in the eight steps of DESIGN section 5's table.
/// @param depth  ranks between this one and the end where its stream 0 enters
/// @param half   ranks from that end to where the streams meet; depth < half
/// @param count  micro-batches of each stream, at least 2·half
/// @param streams  0: the one that enters near this rank; 1: the one that comes from the other side
ComputeOrder two_way_order(std::int64_t depth, std::int64_t half, std::int64_t count,
                           const std::array<ChunkStream, 2>& streams);

}  // namespace fathom
