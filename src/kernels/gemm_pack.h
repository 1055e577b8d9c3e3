#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm_panel.h"
#include "kernels/packed_gemm.h"

namespace fathom::kernels {

// Packing for packed_gemm.cpp: part of an operand as strips or panels.

/// Most values along k that are packed at once.
inline constexpr std::int64_t kMostPackedK = 512;
/// Floats of scratch memory that packing needs.
inline constexpr std::size_t kPackScratch = std::size_t{9} << 10U;

/// Rows and values along k of an operand.
struct OperandPart {
  std::int64_t row;
  std::int64_t rows;
  std::int64_t k;
  std::int64_t ks;  // at most kMostPackedK
};

/// The lines that `bytes` from `from` on lie in.
inline CacheLines cache_lines(const void* from, std::int64_t bytes) {
  constexpr std::uintptr_t kLine = 64;
  const auto* begin = static_cast<const std::byte*>(from);
  const auto before = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(begin) % kLine);
  return {begin - before, (before + bytes + std::int64_t{kLine} - 1) / std::int64_t{kLine}};
}

/// A part as it is stored: `outer` rows of `inner` values that lie together.
class StoredPart {
 public:
  StoredPart(const GemmOperand& operand, const OperandPart& part)
      : data_(static_cast<const std::byte*>(operand.data)),
        gather_(operand.gather),
        dtype_(operand.dtype),
        value_bytes_(static_cast<std::int64_t>(dtype_size(operand.dtype))),
        row_bytes_(operand.stride * value_bytes_),
        first_(operand.transposed ? part.k : part.row),
        outer_(operand.transposed ? part.ks : part.rows),
        inner_begin_(operand.transposed ? part.row : part.k),
        inner_(operand.transposed ? part.rows : part.ks) {}

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] std::int64_t outer() const { return outer_; }
  [[nodiscard]] std::int64_t inner() const { return inner_; }
  /// Value `begin` of a row.
  [[nodiscard]] const std::byte* row(std::int64_t index, std::int64_t begin = 0) const {
    const std::int64_t stored = gather_ != nullptr ? gather_[first_ + index] : first_ + index;
    return data_ + stored * row_bytes_ + (inner_begin_ + begin) * value_bytes_;
  }

  /// Where a row lies.
  [[nodiscard]] CacheLines lines(std::int64_t index) const {
    return cache_lines(row(index), inner_ * value_bytes_);
  }

 private:
  const std::byte* data_;
  const std::int32_t* gather_;
  DType dtype_;
  std::int64_t value_bytes_;
  std::int64_t row_bytes_;
  std::int64_t first_;
  std::int64_t outer_;
  std::int64_t inner_begin_;
  std::int64_t inner_;
};

/// Elements that `ks` values along k take.
constexpr std::int64_t packed_elements(PanelElement element, std::int64_t ks) {
  return element == PanelElement::bf16_pair ? (ks + 1) / 2 : ks;
}

/// Panels of [packed_elements, width], one behind another; rows beyond the part are zeros.
/// @param width  strip_rows, or a multiple of column_unit
void pack_panels(const GemmOperand& operand, const OperandPart& part, PanelElement element,
                 std::int64_t width, float* scratch, float* to);

/// factors[rows] for the run of 128 values that begins at `k`.
void pack_scales(const GemmOperand& operand, std::int64_t row, std::int64_t rows, std::int64_t k,
                 float* factors);

}  // namespace fathom::kernels
