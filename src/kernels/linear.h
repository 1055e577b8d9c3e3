#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "numerics/dtype.h"

namespace fathom::kernels {

/// A weight matrix where it lies: in memory of ours or in a mapped checkpoint (at any byte), in the type it
/// is stored in.
struct WeightMatrix {
  const void* data = nullptr;  // [out, in], row-major
  DType dtype = DType::f32;    // f32, bf16, f16, f8_e4m3 or, in a product with activations, of blocks
  std::int64_t out = 0;
  std::int64_t in = 0;
  /// For f8_e4m3: [ceil(out / 128), ceil(in / 128)], the factor of each 128×128 block; null means 1.
  const float* block_scale = nullptr;
};

/// y[tokens, out] = x[tokens, in] · Wᵀ, in f32; narrow weights are widened exactly. Weights of a block type
/// are multiplied with activations in 8 bits (kernels/quant_linear.h).
///
/// Few tokens (up to 8 of any width, up to 48 of at most 131,072 values together) stream the weights once,
/// straight from where they lie; more go through packed_gemm.h. Either way a token's result does not depend
/// on the other tokens or on the thread count, but between the two ways it may differ in the last bits (about
/// 1e-6 of the row's largest value). For many matrices at once see grouped_linear.h.
void linear_forward(ThreadPool& pool, const float* x, std::int64_t tokens, const WeightMatrix& w, float* y);

/// dx[tokens, in] = dy[tokens, out] · W, added to `dx` where `accumulate`.
void linear_backward_input(ThreadPool& pool, const float* dy, std::int64_t tokens, const WeightMatrix& w,
                           float* dx, bool accumulate);

/// dw[out, in] += dy[tokens, out]ᵀ · x[tokens, in].
void linear_backward_weight(ThreadPool& pool, const float* dy, const float* x, std::int64_t tokens,
                            std::int64_t out, std::int64_t in, float* dw);

}  // namespace fathom::kernels
