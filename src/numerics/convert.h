#pragma once

#include <cstdint>

#include "numerics/dtype.h"

namespace fathom {

/// Whether `dtype` is one of the floating-point types that stand for themselves: F32, BF16, F16.
bool is_plain_float(DType dtype);

/// Widens `count` values of a plain float type, or of F8 codes without their scale, to f32, exactly; or whole
/// blocks of a type of blocks (numerics/quant_blocks.h).
void widen_to_f32(const void* source, DType dtype, std::int64_t count, float* target);

/// Rounds `count` values to a plain float type, to nearest, ties to even. Returns false when a finite value
/// became infinite, being too large for the type.
bool narrow_from_f32(const float* source, std::int64_t count, DType dtype, void* target);

}  // namespace fathom
