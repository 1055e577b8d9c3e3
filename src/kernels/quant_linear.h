#pragma once

#include <cstdint>

#include "kernels/linear.h"
#include "kernels/quant_rows.h"

namespace fathom::kernels {

// Products of weights in the block types of GGUF (numerics/dtype.h) with activations in 8 bits: integer dot
// products within a block, f32 sums across them. The weights are read as they lie in the file, a panel of
// rows at a time, so that lanes are rows (kernels/quant_product-inl.h): that costs less than a row's own dot
// product even for one token, as no lanes need be summed.
//
// A token's result does not depend on the other tokens.

/// Rows [begin, end) of W times tokens of x, on the calling thread.
struct QuantProduct {
  WeightMatrix w;  // of a block type
  std::int64_t begin;
  std::int64_t end;
  const QuantizedRows* x;      // [any, w.in]
  const std::int32_t* gather;  // [tokens], which rows of x; null: the first ones
  std::int64_t tokens;
  float* y;               // where the value of row `begin` and the first token goes
  std::int64_t y_stride;  // from token to token
};
void quant_product(const QuantProduct& product);

/// Bytes of weights that an item of work on few tokens reads, where `total` bytes are shared out to threads:
/// as many as leave each thread several items, since a thread begins each of them waiting for memory.
std::size_t quant_item_bytes(const ThreadPool& pool, std::size_t total);

/// Rows that an item of work on `tokens` tokens should have.
/// @param bytes  see `quant_item_bytes`
std::int64_t quant_item_rows(const WeightMatrix& w, std::int64_t tokens, std::size_t bytes);

}  // namespace fathom::kernels
