#pragma once

#include <cstdint>

#include "numerics/block_scale.h"
#include "numerics/small_float.h"

namespace fathom {

// Small floats with one scale per tile of 128 values (technical report, sections 3.3.2 and 3.3.3): along a
// row (1×128) for what goes through a linear map, along a column (128×1) for the second use of the same
// values in a weight's gradient. Tiles at the edge may be partial. value = code × scale.

inline constexpr std::int64_t kScaleTile = kScaleBlock;

/// The report's format for the input of the linear map after attention: e5m6, 12 bits; largest finite value
/// 65,024.
using F12E5M6 = SmallFloat<std::uint16_t, 5, 6, true>;

/// How a tile's scale follows from its largest magnitude.
struct TileScaling {
  ScaleFormat format = ScaleFormat::f32;
  /// Smaller magnitudes than this are scaled as if it were the largest.
  float least_amax = 1e-4F;
};

/// Of weights and activations, as in the reference inference code.
inline constexpr TileScaling kActivationScaling = {ScaleFormat::f32, 1e-4F};
/// Gradients shrink with the number of tokens that a loss is the mean of: a floor of 1e-4 would push those
/// below 1e-8 into the subnormals, where codes lose their bits. This one only keeps tiles of zeros from being
/// divided by zero.
inline constexpr TileScaling kGradientScaling = {ScaleFormat::f32, 1e-20F};

/// max(amax, least_amax) / largest, and its format's rounding. NaN where `amax` is NaN or infinite: then all
/// values of the tile are NaN, so that what went wrong is seen instead of hidden by saturation.
/// @param largest  the largest finite value of the codes' type
float tile_scale(float amax, TileScaling scaling, float largest);

/// How the rows of a matrix lie in memory.
enum class RowFormat : std::uint8_t {
  f32,
  bf16,
  e4m3,  ///< a byte each, a scale per 1×128 tile
  e5m6,  ///< 192 bytes for each 1×128 tile, a partial one too, and its scale
};

/// Whether rows of the format come with scales, [rows, scale_blocks(columns)].
constexpr bool has_tile_scales(RowFormat format) {
  return format == RowFormat::e4m3 || format == RowFormat::e5m6;
}

/// Bytes of one row, scales not counted.
constexpr std::int64_t row_bytes(RowFormat format, std::int64_t columns) {
  switch (format) {
    case RowFormat::f32:
      return columns * 4;
    case RowFormat::bf16:
      return columns * 2;
    case RowFormat::e4m3:
      return columns;
    case RowFormat::e5m6:
      return scale_blocks(columns) * (kScaleTile + kScaleTile / 2);
  }
  return 0;
}

}  // namespace fathom
