#pragma once

#include <cstdint>

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
/// in 1×128 tiles are widened and quantised again.
/// @param gather  [rows], which stored row comes where; null: all of them in order
/// @param rows    how many rows to make; tiles begin at the first
/// @param codes   [rows, columns]
/// @param scale   [scale_blocks(rows), columns]
void quantize_columns(ThreadPool& pool, const StoredRows& from, const std::int32_t* gather, std::int64_t rows,
                      TileScaling scaling, F8E4M3* codes, float* scale);

/// Quantises a weight [rows, columns] to e4m3 in 128×128 blocks: numerics/block_scale.h's codes and scales,
/// but for a block with a NaN or an infinity, whose scale is NaN.
/// @param scale  [scale_blocks(rows), scale_blocks(columns)]
void quantize_blocks(ThreadPool& pool, const float* values, std::int64_t rows, std::int64_t columns,
                     ScaleFormat format, F8E4M3* codes, float* scale);

}  // namespace fathom::kernels
