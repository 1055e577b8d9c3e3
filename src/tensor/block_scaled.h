#pragma once

#include "numerics/block_scale.h"
#include "tensor/tensor.h"

namespace fathom {

/// A matrix in FP8 with a scale per 128×128 block, as checkpoints hold it (numerics/block_scale.h).
struct BlockScaled {
  Tensor weight;            // [rows, columns], f8_e4m3
  Tensor weight_scale_inv;  // [scale_blocks(rows), scale_blocks(columns)], f32
};

/// The shape of the scales of a matrix of `shape`. Throws `Error` unless it is one of two dimensions.
Shape block_scale_shape(const Shape& shape);

/// @param matrix  [rows, columns], f32, bf16 or f16
BlockScaled quantize_blocks(const Tensor& matrix, ScaleFormat format);

/// Any tensor of floats as f32: a copy, or `values` itself where it is f32 already. FP8 needs its scales.
Tensor to_f32(const Tensor& values, const Tensor& scale_inv = {});

}  // namespace fathom
