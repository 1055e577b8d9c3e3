#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "numerics/dtype.h"

namespace fathom::kernels {

/// A weight matrix where it lies: in memory of ours or in a mapped checkpoint, in the type it is stored in.
struct WeightMatrix {
  const void* data = nullptr;  // [out, in], row-major
  DType dtype = DType::f32;    // f32, bf16, f16 or f8_e4m3
  std::int64_t out = 0;
  std::int64_t in = 0;
  /// For f8_e4m3: [ceil(out / 128), ceil(in / 128)], the factor of each 128×128 block.
  const float* block_scale = nullptr;
};

/// y[tokens, out] = x[tokens, in] · Wᵀ. Few tokens stream the weights once (bound by memory); many go through
/// GEMM, narrow types expanded to f32 a panel at a time.
void linear_forward(ThreadPool& pool, const float* x, std::int64_t tokens, const WeightMatrix& w, float* y);

/// dx[tokens, in] = dy[tokens, out] · W, added to `dx` where `accumulate`. W is f32.
void linear_backward_input(ThreadPool& pool, const float* dy, std::int64_t tokens, const WeightMatrix& w,
                           float* dx, bool accumulate);

/// dw[out, in] += dy[tokens, out]ᵀ · x[tokens, in].
void linear_backward_weight(ThreadPool& pool, const float* dy, const float* x, std::int64_t tokens,
                            std::int64_t out, std::int64_t in, float* dw);

}  // namespace fathom::kernels
