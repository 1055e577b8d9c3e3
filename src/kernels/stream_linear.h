#pragma once

#include <cstdint>

#include "kernels/linear.h"

namespace fathom::kernels {

// One thread's work on a weight matrix in its stored type; kernels/linear.h shares it out.

/// Columns and rows of one scale of a block-scaled matrix.
inline constexpr std::int64_t kScaleBlock = 128;

/// Rows [begin, end) of W times each token: y[t, begin..end) = x[t] · W[begin..end)ᵀ, for few tokens. Reads
/// each weight from memory once. `begin` is a multiple of 4. Rows of x are w.in apart, rows of y w.out.
void stream_linear(const WeightMatrix& w, std::int64_t begin, std::int64_t end, const float* x,
                   std::int64_t tokens, float* y);

/// W[row, row + rows) x [column, column + columns) as f32, block scales applied, into out[rows, columns].
/// `column` is a multiple of kScaleBlock.
void expand_weights(const WeightMatrix& w, std::int64_t row, std::int64_t rows, std::int64_t column,
                    std::int64_t columns, float* out);

}  // namespace fathom::kernels
