#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace fathom::kernels {

enum class Transpose : bool { no, yes };

/// A matrix operand: `op(M)` with `data` row-major and `stride` elements between rows as stored.
struct Operand {
  const float* data;
  std::int64_t stride;
  Transpose transpose = Transpose::no;
};

/// C[m, n] = alpha · op(A)[m, k] · op(B)[k, n] + beta · C, f32, on the calling thread (OpenBLAS).
/// With beta = 0, C need not be initialised.
void gemm_serial(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, Operand a, Operand b,
                 float beta, float* c, std::int64_t c_stride);

/// The same, shared by the pool's threads: C is cut into tiles whose sizes depend on m, n, k alone.
void gemm(ThreadPool& pool, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, Operand a, Operand b,
          float beta, float* c, std::int64_t c_stride);

}  // namespace fathom::kernels
