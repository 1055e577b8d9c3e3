#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// Where the two members of a rotated pair lie among the `dim` values.
enum class RopePairs : bool {
  neighbours,  ///< (2i, 2i + 1): `rope_interleave`, the released weights
  halves,      ///< (i, i + dim / 2)
};

/// Turning by the angle, or back by it: the gradient of a rotation is the inverse rotation.
enum class RopeDirection : bool { forward, inverse };

/// Cosines and sines to rotate by. Row p of each table, [positions, dim / 2], belongs to position p.
struct RopeAngles {
  const float* cosines;
  const float* sines;
  std::int64_t dim;
  RopePairs pairs;
};

/// Rotates, in place, the `dim` values at x + t · token_stride + h · head_stride for every token t and head h
/// by the angles of position positions[t] (rotary embedding, arXiv 2104.09864). Where the tables carry YaRN's
/// attention factor, both directions multiply by it, as a gradient must.
void rope_rotate(ThreadPool& pool, float* x, std::int64_t token_stride, std::int64_t head_stride,
                 std::int64_t tokens, std::int64_t heads, const RopeAngles& angles,
                 const std::int64_t* positions, RopeDirection direction);

}  // namespace fathom::kernels
