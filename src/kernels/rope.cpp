#include "kernels/rope.h"

#include <algorithm>
#include <cstddef>

namespace fathom::kernels {
namespace {

/// One head's values of one token. `sign` is -1 for the inverse.
void rotate(float* x, const float* cosines, const float* sines, std::int64_t half, RopePairs pairs,
            float sign) {
  const std::int64_t step = pairs == RopePairs::neighbours ? 2 : 1;
  float* second = x + (pairs == RopePairs::neighbours ? 1 : half);
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = x[i * step];
    const float b = second[i * step];
    const float s = sign * sines[i];
    x[i * step] = a * cosines[i] - b * s;
    second[i * step] = b * cosines[i] + a * s;
  }
}

}  // namespace

void rope_rotate(ThreadPool& pool, float* x, std::int64_t token_stride, std::int64_t head_stride,
                 std::int64_t tokens, std::int64_t heads, const RopeAngles& angles,
                 const std::int64_t* positions, RopeDirection direction) {
  const std::int64_t half = angles.dim / 2;
  const float sign = direction == RopeDirection::forward ? 1.0F : -1.0F;
  constexpr std::int64_t kPairsPerItem = 1 << 14;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kPairsPerItem / std::max<std::int64_t>(1, heads * half));
  pool.parallel_ranges(static_cast<std::size_t>(tokens), static_cast<std::size_t>(grain),
                       [&](std::size_t begin, std::size_t end) {
                         for (std::size_t t = begin; t < end; ++t) {
                           const float* cosines = angles.cosines + positions[t] * half;
                           const float* sines = angles.sines + positions[t] * half;
                           float* row = x + static_cast<std::int64_t>(t) * token_stride;
                           for (std::int64_t h = 0; h < heads; ++h)
                             rotate(row + h * head_stride, cosines, sines, half, angles.pairs, sign);
                         }
                       });
}

}  // namespace fathom::kernels
