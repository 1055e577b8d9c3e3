#include "tensor/block_scaled.h"

#include "base/error.h"
#include "numerics/convert.h"

namespace fathom {

Shape block_scale_shape(const Shape& shape) {
  require(shape.size() == 2, "block scales need a matrix, not a tensor of shape {}", shape_text(shape));
  return {scale_blocks(shape[0]), scale_blocks(shape[1])};
}

BlockScaled quantize_blocks(const Tensor& matrix, ScaleFormat format) {
  BlockScaled result{Tensor::empty(matrix.shape(), DType::f8_e4m3),
                     Tensor::empty(block_scale_shape(matrix.shape()))};
  const std::int64_t rows = matrix.dim(0);
  const std::int64_t columns = matrix.dim(1);
  // A band of blocks at a time, so that wide matrices of narrow types need no whole f32 copy.
  for (std::int64_t row = 0; row < rows; row += kScaleBlock) {
    const std::int64_t end = row + kScaleBlock < rows ? row + kScaleBlock : rows;
    const Tensor band = to_f32(matrix.rows(row, end));
    quantize_blocks(band.f32(), end - row, columns, format,
                    static_cast<F8E4M3*>(result.weight.data()) + row * columns,
                    result.weight_scale_inv.f32() + row / kScaleBlock * scale_blocks(columns));
  }
  return result;
}

Tensor to_f32(const Tensor& values, const Tensor& scale_inv) {
  if (values.dtype() == DType::f32) return values;
  Tensor result = Tensor::empty(values.shape());
  if (values.dtype() == DType::f8_e4m3) {
    require(scale_inv.defined() && scale_inv.shape() == block_scale_shape(values.shape()),
            "an FP8 tensor of shape {} without its block scales", shape_text(values.shape()));
    dequantize_blocks(static_cast<const F8E4M3*>(values.data()), scale_inv.f32(), values.dim(0),
                      values.dim(1), result.f32());
    return result;
  }
  widen_to_f32(values.data(), values.dtype(), values.size(), result.f32());
  return result;
}

}  // namespace fathom
