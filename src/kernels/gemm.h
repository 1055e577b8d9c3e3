#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/gemm_tiles.h"

namespace fathom::kernels {

enum class Transpose : bool { no, yes };

/// A matrix operand: `op(M)` with `data` row-major and `stride` elements between rows as stored.
struct Operand {
  const float* data;
  std::int64_t stride;
  Transpose transpose = Transpose::no;

  /// op(M) from a row and a column on.
  [[nodiscard]] Operand from(std::int64_t row, std::int64_t column) const;
};

/// C[m, n] = alpha · op(A)[m, k] · op(B)[k, n] + beta · C, f32, on the calling thread (OpenBLAS).
/// With beta = 0, C need not be initialised. The first call of a process checks OpenBLAS (see blas_check.h).
void gemm_serial(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, Operand a, Operand b,
                 float beta, float* c, std::int64_t c_stride);

/// The same, shared by the pool's threads: C is cut into tiles whose sizes depend on m, n, k alone.
void gemm(ThreadPool& pool, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, Operand a, Operand b,
          float beta, float* c, std::int64_t c_stride);

/// One tile of such a product, on the calling thread: for those who share out several products at once.
void gemm_tile(const GemmTiles& tiles, std::int64_t index, std::int64_t m, std::int64_t n, std::int64_t k,
               float alpha, const Operand& a, const Operand& b, float beta, float* c, std::int64_t c_stride);

}  // namespace fathom::kernels
