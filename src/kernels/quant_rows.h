#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// 32 values of an activation in 8 bits: value ≈ scale · code. A block with a NaN or an infinity has a NaN
/// for its scale and sums, so that whatever it is multiplied into is NaN, too.
struct ActivationBlock {
  static constexpr std::int64_t kValues = 32;

  float scale;                 // largest magnitude / 127
  float sum;                   // scale · sum of the codes: what offsets of weights are multiplied with
  float half_sums[2];          // the same of 16 codes each
  std::int8_t codes[kValues];  // -127 to 127
};
static_assert(sizeof(ActivationBlock) == 48);

/// Rows of activations as integer kernels multiply them (kernels/quant_linear.h).
class QuantizedRows {
 public:
  /// Room for rows of `columns` values, a multiple of ActivationBlock::kValues.
  QuantizedRows(std::int64_t rows, std::int64_t columns);

  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] std::int64_t columns() const { return blocks_ * ActivationBlock::kValues; }
  [[nodiscard]] ActivationBlock* row(std::int64_t row) { return data_.get() + row * blocks_; }
  [[nodiscard]] const ActivationBlock* row(std::int64_t row) const { return data_.get() + row * blocks_; }

 private:
  std::int64_t rows_;
  std::int64_t blocks_;  // of a row
  std::unique_ptr<ActivationBlock[]> data_;
};

/// Quantises `blocks` · 32 values on the calling thread, to nearest.
void quantize_activations(const float* values, std::int64_t blocks, ActivationBlock* out);

/// x [rows, columns], whose rows begin `stride` values apart.
QuantizedRows quantize_rows(ThreadPool& pool, const float* x, std::int64_t rows, std::int64_t columns,
                            std::int64_t stride);

}  // namespace fathom::kernels
