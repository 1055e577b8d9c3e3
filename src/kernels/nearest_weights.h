#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/linear.h"

namespace fathom::kernels {

/// Where a row of W begins.
inline const void* row_of(const WeightMatrix& w, std::int64_t row) {
  return static_cast<const std::byte*>(w.data) + stored_bytes(w.dtype, row * w.in);
}

/// W where the calling thread's memory node has it, if it has a copy of its own (base/residence.h).
inline WeightMatrix nearest(const ThreadPool& pool, WeightMatrix w) {
  if (const Residence* residence = pool.residence()) {
    const std::size_t node = ThreadPool::own_node();
    w.data = residence->nearest(w.data, node);
    w.block_scale = static_cast<const float*>(residence->nearest(w.block_scale, node));
  }
  return w;
}

}  // namespace fathom::kernels
