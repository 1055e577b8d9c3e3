#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/packed_gemm.h"
#include "kernels/stored_rows.h"
#include "model/context.h"
#include "tensor/tensor.h"

namespace fathom {

/// A tensor of rows as a recipe stores it: to be kept from forward to backward, or to be multiplied. Copying
/// shares the storage, as with `Tensor`.
class Kept {
 public:
  /// Nothing: `defined()` is false.
  Kept() = default;
  /// @param x  [rows, ...], f32; in the f32 format its storage is shared, and it must stay as it is
  Kept(const Context& context, const Tensor& x, RowFormat format, TileScaling scaling = kActivationScaling);

  [[nodiscard]] bool defined() const { return data_.defined(); }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::int64_t rows() const { return shape_.at(0); }
  [[nodiscard]] std::int64_t columns() const { return columns_; }
  /// Of its tiles' scales, if it has them.
  [[nodiscard]] ScaleFormat scale_format() const { return scale_format_; }
  /// Bytes that are stored, scales included.
  [[nodiscard]] std::size_t byte_size() const;

  [[nodiscard]] bool has_scales() const { return scale_.defined(); }
  /// Room for so many rows in the format and of the width of these; undefined values.
  [[nodiscard]] Kept like(std::int64_t rows) const;
  /// Copies of stored rows gather[0], gather[1], ...
  [[nodiscard]] Kept copied(std::span<const std::int32_t> gather) const;
  /// What is stored of rows [begin, end), but for their tiles' scales; and those, where there are any.
  [[nodiscard]] std::span<std::byte> row_bytes_of(std::int64_t begin, std::int64_t end);
  [[nodiscard]] std::span<std::byte> scale_bytes_of(std::int64_t begin, std::int64_t end);

  /// The values, widened; shared where they are f32.
  [[nodiscard]] Tensor f32(const Context& context) const;
  [[nodiscard]] kernels::StoredRows stored() const;
  /// Rows [begin, end) as the side of a product whose rows they are. Throws `Error` for e5m6, which is not
  /// multiplied.
  [[nodiscard]] kernels::GemmOperand operand(std::int64_t begin, std::int64_t end) const;
  [[nodiscard]] kernels::GemmOperand operand() const { return operand(0, rows()); }
  /// The same for stored rows gather[0], gather[1], ...
  [[nodiscard]] kernels::GemmOperand gathered(std::span<const std::int32_t> gather) const;

 private:
  Shape shape_;
  std::int64_t columns_ = 0;
  RowFormat format_ = RowFormat::f32;
  ScaleFormat scale_format_ = ScaleFormat::f32;
  Tensor data_;   // [rows, ...] in the format's own layout
  Tensor scale_;  // [rows, scale_blocks(columns)], where the format has scales
};

/// x as the rest of the recipe sees it once it was kept as `kept`: what is computed again in the backward
/// pass is then what the forward pass computed.
Tensor keep_rounded(const Context& context, const Tensor& x, Kept& kept);

}  // namespace fathom
