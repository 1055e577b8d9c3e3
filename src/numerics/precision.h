#pragma once

#include <cstdint>

#include "numerics/dtype.h"

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

}  // namespace fathom
