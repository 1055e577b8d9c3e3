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
