#pragma once

#include <cstdint>

#include "numerics/small_float.h"

namespace fathom {

// FP8 with one scale per 128×128 block, as the released V3 checkpoints store weights (technical report,
// section 3.3.2): value = code × scale_inv. Blocks at the right and lower edge may be partial.

inline constexpr std::int64_t kScaleBlock = 128;

/// How many blocks cover `size` rows or columns.
constexpr std::int64_t scale_blocks(std::int64_t size) {
  return size / kScaleBlock + (size % kScaleBlock != 0 ? 1 : 0);
}

enum class ScaleFormat : std::uint8_t {
  f32,           ///< amax / 448
  power_of_two,  ///< the same, rounded up to a power of two (V3.1's `scale_fmt: ue8m0`)
};

/// The scale of values whose largest magnitude is `amax`: max(amax, 1e-4) / 448, as the reference inference
/// code has it.
float block_scale(float amax, ScaleFormat format);

/// @param values     [rows, columns]
/// @param codes      [rows, columns]
/// @param scale_inv  [scale_blocks(rows), scale_blocks(columns)]
/// Throws `Error` at a NaN or infinite value, which has no meaningful scale.
void quantize_blocks(const float* values, std::int64_t rows, std::int64_t columns, ScaleFormat format,
                     F8E4M3* codes, float* scale_inv);

/// The inverse: values[rows, columns] = codes × scale_inv, in f32.
void dequantize_blocks(const F8E4M3* codes, const float* scale_inv, std::int64_t rows, std::int64_t columns,
                       float* values);

}  // namespace fathom
