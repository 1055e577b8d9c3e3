#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gemm_panel.h"
#include "kernels/packed_gemm.h"

namespace fathom::kernels {

// What one thread does at a time for packed_gemm.cpp.

/// What all items of a call have in common.
struct GemmCall {
  std::span<const GemmOperand> operands;
  PanelLayout layout;
  PanelElement element;
};

/// Columns of a job's C, at most layout.panel_columns.
struct GemmPanel {
  const GemmJob* job;
  std::int64_t column;
  std::int64_t columns;
};

/// Rows of one A, and panels of all jobs that share it.
struct GemmItem {
  const GemmOperand* a;
  std::int64_t row;
  std::int64_t rows;
  std::vector<GemmPanel> panels;
  std::int64_t work;  // multiply-adds
};

/// Computes the item's part of C, on the calling thread. Elements are summed over blocks along k that depend
/// on k and the element type alone.
void run_item(const GemmCall& call, const GemmItem& item);

constexpr std::int64_t pieces(std::int64_t size, std::int64_t piece) {
  return (size + piece - 1) / piece;
}

/// Size of each of `count` like pieces of `size`, in whole `unit`s.
constexpr std::int64_t piece_of(std::int64_t size, std::int64_t count, std::int64_t unit) {
  return pieces(pieces(size, count), unit) * unit;
}

}  // namespace fathom::kernels
