#pragma once

#include <cstdint>

#include "numerics/dtype.h"

namespace fathom::kernels {

/// Encodes `count` values, whole blocks of one row, as a type of blocks (numerics/quant_blocks.h). Q8_0
/// rounds to nearest under a scale of the largest magnitude over 127, as the `gguf` library does, to the same
/// bytes. The others search scales, and mins where there are any, for the least sum of importance × error²:
///  - each block or sub-block tries scales that clip its ends more or less, refined by least squares;
///  - types of 256 then choose the integers that stand for scales and mins among the neighbours of the best
///    real ones, the F16 factors by least squares over the whole block, and both again.
/// The result does not depend on the instruction set but for the last bit of sums that decide between near
/// ties.
/// @param values      [count]
/// @param importance  [count] mean squares of the inputs that meet each column, or null: all alike, but in
///                    Q2_K and Q3_K large values count more. Columns of little or no importance still count a
///                    little, so that they keep some of their value
/// @param target      [count / block_values(dtype)] blocks
/// Throws `Error` for a plain type and one without encoder, part of a block, a NaN or infinite value, and
/// values too large for F16 scales.
void encode_blocks(DType dtype, const float* values, std::int64_t count, const float* importance,
                   void* target);

}  // namespace fathom::kernels
