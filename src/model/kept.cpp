#include "model/kept.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"

namespace fathom {

Kept::Kept(const Context& context, const Tensor& x, RowFormat format, TileScaling scaling)
    : shape_(x.shape()),
      columns_(x.size() / std::max<std::int64_t>(1, x.dim(0))),
      format_(format),
      scale_format_(scaling.format) {
  if (format == RowFormat::f32) {
    data_ = x;
    return;
  }
  data_ = Tensor::empty({rows(), row_bytes(format, columns_)}, DType::u8);
  if (has_tile_scales(format)) scale_ = Tensor::empty({rows(), scale_blocks(columns_)});
  kernels::store_rows(context.pool, x.f32(), rows(), columns_, format, scaling, data_.data(),
                      scale_.defined() ? scale_.f32() : nullptr);
}

std::size_t Kept::byte_size() const {
  return data_.byte_size() + scale_.byte_size();
}

Tensor Kept::f32(const Context& context) const {
  if (format_ == RowFormat::f32) return data_;
  Tensor values = Tensor::empty(shape_);
  kernels::load_rows(context.pool, stored(), values.f32());
  return values;
}

kernels::StoredRows Kept::stored() const {
  return {data_.data(), format_, scale_.defined() ? scale_.f32() : nullptr, rows(), columns_};
}

kernels::GemmOperand Kept::operand(std::int64_t begin, std::int64_t end) const {
  const auto* first = static_cast<const std::byte*>(data_.data()) + begin * row_bytes(format_, columns_);
  kernels::GemmOperand side{.data = first, .rows = end - begin, .k = columns_, .stride = columns_};
  switch (format_) {
    case RowFormat::f32:
      break;
    case RowFormat::bf16:
      side.dtype = DType::bf16;
      break;
    case RowFormat::e4m3:
      side.dtype = DType::f8_e4m3;
      side.scale = scale_.f32() + begin * scale_blocks(columns_);
      side.scale_row_stride = scale_blocks(columns_);
      side.scale_k_stride = 1;
      break;
    case RowFormat::e5m6:
      fail("rows of E5M6 are kept, not multiplied");
  }
  return side;
}

kernels::GemmOperand Kept::gathered(std::span<const std::int32_t> gather) const {
  kernels::GemmOperand side = operand();
  side.rows = static_cast<std::int64_t>(gather.size());
  side.gather = gather.data();
  return side;
}

Tensor keep_rounded(const Context& context, const Tensor& x, Kept& kept) {
  kept = Kept(context, x, stream_format(context.precision));
  return kept.f32(context);
}

}  // namespace fathom
