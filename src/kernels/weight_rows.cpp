#include "kernels/weight_rows.h"

#include "base/error.h"
#include "numerics/small_float.h"

namespace fathom::kernels {
namespace {

constexpr std::int64_t kScaleBlock = 128;

template <typename Value>
void expand(const WeightMatrix& w, std::int64_t begin, std::int64_t end, float* out) {
  const auto* values = static_cast<const Value*>(w.data);
  for (std::int64_t i = begin * w.in; i < end * w.in; ++i) *out++ = values[i].to_float();
}

void apply_block_scales(const WeightMatrix& w, std::int64_t begin, std::int64_t end, float* out) {
  const std::int64_t blocks = (w.in + kScaleBlock - 1) / kScaleBlock;
  for (std::int64_t row = begin; row < end; ++row) {
    const float* scales = w.block_scale + row / kScaleBlock * blocks;
    for (std::int64_t i = 0; i < w.in; ++i) *out++ *= scales[i / kScaleBlock];
  }
}

}  // namespace

const float* weight_rows_f32(const WeightMatrix& w, std::int64_t begin, std::int64_t end, float* scratch) {
  require(0 <= begin && begin <= end && end <= w.out, "rows {} to {} were asked of a weight with {}", begin,
          end, w.out);
  switch (w.dtype) {
    case DType::f32:
      return static_cast<const float*>(w.data) + begin * w.in;
    case DType::bf16:
      expand<Bf16>(w, begin, end, scratch);
      return scratch;
    case DType::f16:
      expand<F16>(w, begin, end, scratch);
      return scratch;
    case DType::f8_e4m3:
      require(w.block_scale != nullptr, "an F8_E4M3 weight of [{}, {}] has no block scales", w.out, w.in);
      expand<F8E4M3>(w, begin, end, scratch);
      apply_block_scales(w, begin, end, scratch);
      return scratch;
    default:
      fail("a weight of {} cannot be multiplied with: convert it to F32, BF16, F16 or F8_E4M3",
           dtype_name(w.dtype));
  }
}

}  // namespace fathom::kernels
