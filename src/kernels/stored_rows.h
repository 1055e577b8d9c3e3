#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "numerics/tile_scale.h"

namespace fathom::kernels {

// Matrices on their way into and out of narrow storage. Codes are bit-equal with numerics/small_float.h on
// every instruction set: a value is divided by its tile's scale, then rounded to nearest, ties to even. A
// tile with a NaN or an infinity becomes NaN throughout.

/// A matrix as it is stored.
struct StoredRows {
  const void* data = nullptr;  // [rows, row_bytes(format, columns)]
  RowFormat format = RowFormat::f32;
  const float* scale = nullptr;  // [rows, scale_blocks(columns)], where the format has scales
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

/// Stores x [rows, columns] in the format; `data` and `scale` are as in `StoredRows`.
void store_rows(ThreadPool& pool, const float* x, std::int64_t rows, std::int64_t columns, RowFormat format,
                TileScaling scaling, void* data, float* scale);

/// Widens what was stored to out [rows, columns]; exact but for one rounding of code × scale.
void load_rows(ThreadPool& pool, const StoredRows& from, float* out);

/// Quantises to e4m3 in 128×1 tiles, as the gradient of a weight takes its operands: values that were stored
/// in 1×128 tiles are widened and quantised again. Rows may be of several groups, each for a product of its
/// own: tiles begin at a group's first row.
/// @param gather   [rows], which stored row comes where; null: all of them in order
/// @param offsets  where each group begins, and the number of rows last
/// @param codes    [rows, columns]
/// @param scale    [sum over groups of scale_blocks(rows of it), columns]
void quantize_columns(ThreadPool& pool, const StoredRows& from, const std::int32_t* gather,
                      std::span<const std::int64_t> offsets, TileScaling scaling, F8E4M3* codes,
                      float* scale);

/// A weight to quantise in 128×128 blocks.
struct BlockQuantization {
  const float* values;  // [rows, columns]
  std::int64_t rows;
  std::int64_t columns;
  F8E4M3* codes;  // [rows, columns]
  float* scale;   // [scale_blocks(rows), scale_blocks(columns)]
};
/// All of them, to the codes and scales of numerics/block_scale.h, but for a block with a NaN or an infinity:
/// its scale is NaN.
void quantize_blocks(ThreadPool& pool, std::span<const BlockQuantization> weights, ScaleFormat format);

}  // namespace fathom::kernels
