#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "numerics/small_float.h"

namespace fathom::kernels {

/// The momentum of Muon (Keller Jordan, 2024) with Nesterov's look-ahead, one pass over `count` values on the
/// calling thread:
///
///     g = gradient_scale · gradient     m = beta · m + (1 - beta) · g     out = beta · m + (1 - beta) · g
///
/// and gradient = 0. As a mean rather than a sum: orthogonalisation does not see the difference.
void muon_momentum(float beta, float gradient_scale, std::size_t count, float* gradient, float* momentum,
                   float* out);
/// The same with momentum stored in BF16, rounded to nearest, ties to even; `out` is of the unrounded one.
void muon_momentum(float beta, float gradient_scale, std::size_t count, float* gradient, Bf16* momentum,
                   float* out);

/// weight = keep · weight - rate · update.
void muon_apply(float keep, float rate, std::size_t count, const float* update, float* weight);

/// Replaces x [rows, cols] by about U·Vᵀ of its singular value decomposition: five Newton-Schulz iterations
/// x = a·x + (b·A + c·A²)·x, A = x·xᵀ (or on the other side where that is smaller), from x scaled to
/// Frobenius norm 1, with Keller Jordan's coefficients, which leave singular values between about 0.7
/// and 1.2. f32. Inside a loop of the pool it stays on the calling thread; the values are the same. Cost: 5 ·
/// (4·s·rows·cols + 2·s³) operations, s = min(rows, cols); memory 2·s² + rows·cols values.
void orthogonalize(ThreadPool& pool, std::int64_t rows, std::int64_t cols, float* x);

}  // namespace fathom::kernels
