#include "kernels/weight_rows.h"

#include <cstddef>

#include "base/error.h"
#include "kernels/stream_linear.h"
#include "numerics/convert.h"

namespace fathom::kernels {

const float* weight_rows_f32(const WeightMatrix& w, std::int64_t begin, std::int64_t end, float* scratch) {
  require(0 <= begin && begin <= end && end <= w.out, "rows {} to {} were asked of a weight with {}", begin,
          end, w.out);
  if (w.dtype == DType::f32) return static_cast<const float*>(w.data) + begin * w.in;
  if (is_block_quantized(w.dtype)) {
    widen_to_f32(static_cast<const std::byte*>(w.data) + stored_bytes(w.dtype, begin * w.in), w.dtype,
                 (end - begin) * w.in, scratch);
    return scratch;
  }
  expand_weights(w, begin, end - begin, 0, w.in, scratch);
  return scratch;
}

}  // namespace fathom::kernels
