#pragma once

#include <cstdint>

#include "numerics/dtype.h"
#include "numerics/tile_scale.h"

namespace fathom {

/// The recipe that a model is trained in. Weights, gradients and their sums are f32 in each of them.
enum class Precision : std::uint8_t {
  f32,   ///< everything in f32
  bf16,  ///< products of BF16 inputs; what is kept for the backward pass is BF16
  fp8,   ///< the technical report's, section 3.3: products of tile-scaled E4M3, where it has them
};

/// What AdamW's moments are stored in (technical report, section 3.3.3).
constexpr DType moments_dtype(Precision precision) {
  return precision == Precision::f32 ? DType::f32 : DType::bf16;
}

// What is kept from forward to backward.

/// The residual stream and the latents, which norms and up-projections are computed again from.
constexpr RowFormat stream_format(Precision precision) {
  return precision == Precision::f32 ? RowFormat::f32 : RowFormat::bf16;
}
/// The inputs of SwiGLU.
constexpr RowFormat swiglu_format(Precision precision) {
  return precision == Precision::fp8 ? RowFormat::e4m3 : stream_format(precision);
}
/// The output of attention, whose backward pass is sensitive to it.
constexpr RowFormat attention_format(Precision precision) {
  return precision == Precision::fp8 ? RowFormat::e5m6 : stream_format(precision);
}

}  // namespace fathom
