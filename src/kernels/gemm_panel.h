#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fathom::kernels {

// The innermost part of packed_gemm: strips of A times a panel of B, both laid out for it. Rows of A lie in
// strips of `strip_rows`, columns of C (rows of B) in panels of `panel_columns`, each [k, width] so that
// what is multiplied together lies together. For packed_gemm.cpp and gemm_pack.cpp.

/// What the 32 bits of an element of a strip or panel hold.
enum class PanelElement : std::uint8_t {
  f32,
  f32_rounded,  // to bf16
  bf16_pair,    // of two neighbours along k, the first in the lower half; an odd last one beside a zero
};

/// Sizes that fill the registers of the instruction set in use.
struct PanelLayout {
  std::int64_t strip_rows;
  std::int64_t panel_columns;
  std::int64_t column_unit;    // panels at the right edge are cut to a multiple of it
  bool multiplies_bf16_pairs;  // this machine can
};
PanelLayout panel_layout();

/// Lines of 64 bytes that are wanted in the caches soon.
struct CacheLines {
  const std::byte* from;
  std::int64_t count;
};

struct PanelProduct {
  PanelElement element;
  const float* a;             // strips of [k, strip_rows]
  std::int64_t strip_stride;  // floats from one strip to the next
  const float* b;             // [k, columns rounded up to column_unit]
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t k;             // elements, so half as many pairs
  const float* row_scale;     // [rows]; null: no scales
  const float* column_scale;  // [columns rounded up to column_unit]; null where row_scale is
  float* c;
  std::int64_t c_stride;
  bool accumulate;
  /// Asked for in the course of the product: a processor drops requests that come all at once.
  std::span<const CacheLines> wanted;
  std::int64_t wanted_lines;  // of all `wanted`
};
/// C[rows, columns] (+)= (A · B) · row_scale · column_scale, on the calling thread.
void multiply_panel(const PanelProduct& product);

}  // namespace fathom::kernels
