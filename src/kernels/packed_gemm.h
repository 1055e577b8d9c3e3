#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/linear.h"
#include "numerics/dtype.h"

namespace fathom::kernels {

// Products of matrices, as many at once as a layer has:
//
//     C[m, n] (+)= sum over k of A(m, k) · B(n, k)
//
// Both operands are "rows dotted with rows": y = x · Wᵀ has A = x and B = W; dx = dy · W has A = dy and
// B = Wᵀ; dW = dyᵀ · x has A = dyᵀ and B = xᵀ. Operands are gathered, converted and laid out for the
// multiplying kernel while they are packed, so that every precision recipe runs the same loop.

/// What operands are rounded to, to nearest, ties to even, before they are multiplied. Sums are always f32.
///
/// Where the machine multiplies bf16 (AVX512-BF16), it takes inputs and sums below 1.2e-38 for zero;
/// elsewhere rounded values are multiplied in f32. The two differ as f32 sums in another order do.
enum class GemmInput : std::uint8_t { f32, bf16 };

/// One side of a product: element (row, k), where it lies.
struct GemmOperand {
  const void* data = nullptr;
  DType dtype = DType::f32;  // f32, bf16, f16 or f8_e4m3; data may lie at any byte
  std::int64_t rows = 0;
  std::int64_t k = 0;
  std::int64_t stride = 0;  // elements from one stored row to the next
  bool transposed = false;  // stored [k, rows] rather than [rows, k]
  /// The stored row where each row lies (where each k lies, if transposed); null: one after another.
  const std::int32_t* gather = nullptr;

  /// Factors of the elements, one for each run of 128 along k (from k = 0 on) and each `scale_rows` rows:
  /// scale[(row / scale_rows) · scale_row_stride + (k / 128) · scale_k_stride], null meaning 1. Where rows
  /// are gathered, `row` is the stored one; a gathered k counts in the order of the product.
  ///
  /// Products of 128 elements are summed as they are, multiplied by the factors of both sides and added to C
  /// (technical report, section 3.3.2).
  const float* scale = nullptr;
  std::int64_t scale_rows = 1;
  std::int64_t scale_row_stride = 0;
  std::int64_t scale_k_stride = 0;

  /// The same matrix with rows and k exchanged. A scale must have `scale_rows` 128 then, as blocks of weights
  /// have, and nothing may be gathered.
  [[nodiscard]] GemmOperand flipped() const;
};

/// [rows, k] values one row after another.
GemmOperand gemm_rows(const float* data, std::int64_t rows, std::int64_t k);

/// [out, in] as it lies, with its block scales.
GemmOperand gemm_weights(const WeightMatrix& w);

/// One product. A and B are indices of operands: naming the same A in several jobs (the inputs of two
/// projections) packs it once for all of them.
struct GemmJob {
  std::size_t a;
  std::size_t b;
  float* c;               // [A.rows, B.rows]; overlaps neither operands nor another job's C
  std::int64_t c_stride;  // values from one row to the next
  bool accumulate;        // add to C rather than overwrite it
};

/// All jobs, shared by the pool's threads; from inside an item of the pool, on the calling thread. An element
/// of C is summed in an order that depends on k alone: not on threads, on other jobs or on other rows.
/// Throws `Error` where the two sides of a job differ in k, or a type is none of the above.
void grouped_gemm(ThreadPool& pool, GemmInput input, std::span<const GemmOperand> operands,
                  std::span<const GemmJob> jobs);

/// The same for a single product.
void packed_gemm(ThreadPool& pool, GemmInput input, const GemmOperand& a, const GemmOperand& b, float* c,
                 std::int64_t c_stride, bool accumulate);

}  // namespace fathom::kernels
