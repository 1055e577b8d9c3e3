#include "numerics/block_scale.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace fathom {
namespace {

/// The values of all 256 codes: a look-up costs less than the conversion.
constexpr std::array<float, 256> kCodeValues = [] {
  std::array<float, 256> values{};
  for (unsigned code = 0; code < 256; ++code)
    values[code] = F8E4M3{static_cast<std::uint8_t>(code)}.to_float();
  return values;
}();

/// Calls visit(block, row_begin, row_end, column_begin, column_end) for each block, row by row.
template <typename Visit>
void for_each_block(std::int64_t rows, std::int64_t columns, const Visit& visit) {
  std::int64_t block = 0;
  for (std::int64_t row = 0; row < rows; row += kScaleBlock)
    for (std::int64_t column = 0; column < columns; column += kScaleBlock)
      visit(block++, row, std::min(rows, row + kScaleBlock), column, std::min(columns, column + kScaleBlock));
}

}  // namespace

float block_scale(float amax, ScaleFormat format) {
  const float scale = std::max(amax, 1e-4F) / 448.0F;
  if (format == ScaleFormat::f32) return scale;
  int exponent = 0;
  const float fraction = std::frexp(scale, &exponent);  // scale = fraction × 2^exponent, fraction in [0.5, 1)
  return std::ldexp(1.0F, fraction == 0.5F ? exponent - 1 : exponent);
}

void quantize_blocks(const float* values, std::int64_t rows, std::int64_t columns, ScaleFormat format,
                     F8E4M3* codes, float* scale_inv) {
  for_each_block(rows, columns,
                 [&](std::int64_t block, std::int64_t row_begin, std::int64_t row_end,
                     std::int64_t column_begin, std::int64_t column_end) {
                   float amax = 0.0F;
                   bool finite = true;
                   for (std::int64_t row = row_begin; row < row_end; ++row) {
                     for (std::int64_t column = column_begin; column < column_end; ++column) {
                       const float magnitude = std::fabs(values[row * columns + column]);
                       finite &= magnitude <= std::numeric_limits<float>::max();  // false for NaN too
                       amax = std::max(amax, magnitude);
                     }
                   }
                   require(finite, "a NaN or infinite value in rows {} to {}, columns {} to {}", row_begin,
                           row_end - 1, column_begin, column_end - 1);
                   const float scale = block_scale(amax, format);
                   scale_inv[block] = scale;
                   for (std::int64_t row = row_begin; row < row_end; ++row)
                     for (std::int64_t i = row * columns + column_begin; i < row * columns + column_end; ++i)
                       codes[i] = F8E4M3::from_float(values[i] / scale, Overflow::saturate);
                 });
}

void dequantize_blocks(const F8E4M3* codes, const float* scale_inv, std::int64_t rows, std::int64_t columns,
                       float* values) {
  for_each_block(rows, columns,
                 [&](std::int64_t block, std::int64_t row_begin, std::int64_t row_end,
                     std::int64_t column_begin, std::int64_t column_end) {
                   const float scale = scale_inv[block];
                   for (std::int64_t row = row_begin; row < row_end; ++row)
                     for (std::int64_t i = row * columns + column_begin; i < row * columns + column_end; ++i)
                       values[i] = kCodeValues[codes[i].bits] * scale;
                 });
}

}  // namespace fathom
