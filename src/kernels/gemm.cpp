#include "kernels/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <mutex>
#include <string>

#include "base/error.h"
#include "kernels/blas_check.h"
#include "kernels/gemm_tiles.h"

namespace fathom::kernels {
namespace {

CBLAS_TRANSPOSE blas_transpose(Transpose transpose) {
  return transpose == Transpose::yes ? CblasTrans : CblasNoTrans;
}

int as_int(std::int64_t value) {
  require(value >= 0 && value <= INT32_MAX, "a matrix dimension of {} is beyond what GEMM takes", value);
  return static_cast<int>(value);
}

void blas_gemm(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const Operand& a,
               const Operand& b, float beta, float* c, std::int64_t c_stride) {
  cblas_sgemm(CblasRowMajor, blas_transpose(a.transpose), blas_transpose(b.transpose), as_int(m), as_int(n),
              as_int(k), alpha, a.data, as_int(std::max<std::int64_t>(a.stride, 1)), b.data,
              as_int(std::max<std::int64_t>(b.stride, 1)), beta, c, as_int(c_stride));
}

/// Prepares OpenBLAS, once a process: one thread a call, since threads are ours, and an error where it
/// multiplies wrongly on this machine. True where calls must take turns: its sequential build hands out work
/// buffers without a lock, and two threads in it at once multiply in the same one.
bool prepare_blas() {
  openblas_set_num_threads(1);
  check_gemm(
      [](bool transposed, std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b,
         float* c) {
        const Operand left = transposed ? Operand{a, m, Transpose::yes} : Operand{a, k};
        const Operand right = transposed ? Operand{b, n} : Operand{b, k, Transpose::yes};
        blas_gemm(m, n, k, 1.0F, left, right, 0.0F, c, n);
      },
      std::string("OpenBLAS with its kernels for ") + openblas_get_corename());
  return openblas_get_parallel() == OPENBLAS_SEQUENTIAL;
}

}  // namespace

Operand Operand::from(std::int64_t row, std::int64_t column) const {
  const std::int64_t offset = transpose == Transpose::yes ? column * stride + row : row * stride + column;
  return {data + offset, stride, transpose};
}

void gemm_serial(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, Operand a, Operand b,
                 float beta, float* c, std::int64_t c_stride) {
  if (m == 0 || n == 0) return;
  static const bool take_turns = prepare_blas();
  static std::mutex turn;
  std::unique_lock lock(turn, std::defer_lock);
  if (take_turns) lock.lock();
  blas_gemm(m, n, k, alpha, a, b, beta, c, c_stride);
}

void gemm(ThreadPool& pool, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, Operand a, Operand b,
          float beta, float* c, std::int64_t c_stride) {
  const GemmTiles tiles = gemm_tiles(m, n, k);
  pool.parallel_for(static_cast<std::size_t>(tiles.count()), [&](std::size_t index) {
    gemm_tile(tiles, static_cast<std::int64_t>(index), m, n, k, alpha, a, b, beta, c, c_stride);
  });
}

void gemm_tile(const GemmTiles& tiles, std::int64_t index, std::int64_t m, std::int64_t n, std::int64_t k,
               float alpha, const Operand& a, const Operand& b, float beta, float* c, std::int64_t c_stride) {
  const std::int64_t row = index / tiles.across * tiles.rows;
  const std::int64_t column = index % tiles.across * tiles.columns;
  gemm_serial(std::min(tiles.rows, m - row), std::min(tiles.columns, n - column), k, alpha, a.from(row, 0),
              b.from(0, column), beta, c + row * c_stride + column, c_stride);
}

}  // namespace fathom::kernels
