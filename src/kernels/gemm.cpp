#include "kernels/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <mutex>

#include "base/error.h"

namespace fathom::kernels {
namespace {

CBLAS_TRANSPOSE blas_transpose(Transpose transpose) {
  return transpose == Transpose::yes ? CblasTrans : CblasNoTrans;
}

/// Keeps OpenBLAS to the calling thread. True where calls must take turns: its sequential build hands out
/// work buffers without a lock, and two threads in it at once multiply in the same one.
bool prepare_blas() {
  openblas_set_num_threads(1);
  return openblas_get_parallel() == OPENBLAS_SEQUENTIAL;
}

/// Where rows [row, ...) of op(M) begin.
const float* row_start(const Operand& m, std::int64_t row) {
  return m.data + (m.transpose == Transpose::yes ? row : row * m.stride);
}

const float* column_start(const Operand& m, std::int64_t column) {
  return m.data + (m.transpose == Transpose::yes ? column * m.stride : column);
}

}  // namespace

void gemm_serial(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, Operand a, Operand b,
                 float beta, float* c, std::int64_t c_stride) {
  if (m == 0 || n == 0) return;
  const auto as_int = [](std::int64_t value) {
    require(value >= 0 && value <= INT32_MAX, "a matrix dimension of {} is beyond what GEMM takes", value);
    return static_cast<int>(value);
  };
  static const bool take_turns = prepare_blas();
  static std::mutex turn;
  std::unique_lock lock(turn, std::defer_lock);
  if (take_turns) lock.lock();
  cblas_sgemm(CblasRowMajor, blas_transpose(a.transpose), blas_transpose(b.transpose), as_int(m), as_int(n),
              as_int(k), alpha, a.data, as_int(std::max<std::int64_t>(a.stride, 1)), b.data,
              as_int(std::max<std::int64_t>(b.stride, 1)), beta, c, as_int(c_stride));
}

void gemm(ThreadPool& pool, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, Operand a, Operand b,
          float beta, float* c, std::int64_t c_stride) {
  // Each tile packs its own panels, so tiles are as large as leaves a handful for every thread to take.
  constexpr std::int64_t kSmallest = 48;
  constexpr std::int64_t kTilesWanted = 8;
  constexpr std::int64_t kSerialWork = std::int64_t{1} << 17;  // multiply-adds not worth waking a thread for
  if (m * n * k <= kSerialWork) {
    gemm_serial(m, n, k, alpha, a, b, beta, c, c_stride);
    return;
  }
  const auto tile = [=](std::int64_t size, std::int64_t pieces) {
    const std::int64_t even = (size + pieces - 1) / pieces;
    return std::max(kSmallest, (even + 15) / 16 * 16);
  };
  const std::int64_t tile_m = m >= n ? tile(m, kTilesWanted) : m;
  const std::int64_t tile_n = m >= n ? n : tile(n, kTilesWanted);
  const std::int64_t tiles_m = (m + tile_m - 1) / tile_m;
  const std::int64_t tiles_n = (n + tile_n - 1) / tile_n;
  pool.parallel_for(static_cast<std::size_t>(tiles_m * tiles_n), [&](std::size_t index) {
    const std::int64_t row = static_cast<std::int64_t>(index) / tiles_n * tile_m;
    const std::int64_t column = static_cast<std::int64_t>(index) % tiles_n * tile_n;
    gemm_serial(std::min(tile_m, m - row), std::min(tile_n, n - column), k, alpha,
                {row_start(a, row), a.stride, a.transpose}, {column_start(b, column), b.stride, b.transpose},
                beta, c + row * c_stride + column, c_stride);
  });
}

}  // namespace fathom::kernels
