#include "model/kept.h"

#include <cstddef>
#include <cstring>
#include <functional>
#include <numeric>

#include "base/error.h"

namespace fathom {
namespace {

/// Also where there are no rows.
std::int64_t width_of_rows(const Shape& shape) {
  return std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
}

/// What lies in rows [begin, end) of a tensor.
std::span<std::byte> bytes_of_rows(Tensor& tensor, std::int64_t begin, std::int64_t end) {
  if (begin == end) return {};
  return tensor.rows(begin, end).bytes();
}

}  // namespace

Kept::Kept(const Context& context, const Tensor& x, RowFormat format, TileScaling scaling)
    : shape_(x.shape()), columns_(width_of_rows(x.shape())), format_(format), scale_format_(scaling.format) {
  if (format == RowFormat::f32) {
    data_ = x;
    return;
  }
  data_ = Tensor::empty({rows(), row_bytes(format, columns_)}, DType::u8);
  if (has_tile_scales(format)) scale_ = Tensor::empty({rows(), scale_blocks(columns_)});
  kernels::store_rows(context.pool, x.f32(), rows(), columns_, format, scaling, data_.data(),
                      scale_.defined() ? scale_.f32() : nullptr);
}

Kept Kept::like(std::int64_t rows) const {
  Kept other = *this;
  other.shape_.front() = rows;
  Shape data = data_.shape();
  data.front() = rows;
  other.data_ = Tensor::empty(data, data_.dtype());
  if (scale_.defined()) other.scale_ = Tensor::empty({rows, scale_.dim(1)});
  return other;
}

Kept Kept::copied(std::span<const std::int32_t> gather) const {
  Kept copy = like(static_cast<std::int64_t>(gather.size()));
  const auto gather_rows = [&](const Tensor& from, Tensor& to) {
    if (!from.defined() || gather.empty()) return;
    const std::size_t row = to.byte_size() / gather.size();
    auto* out = static_cast<std::byte*>(to.data());
    for (const std::int32_t i : gather) {
      std::memcpy(out, static_cast<const std::byte*>(from.data()) + static_cast<std::size_t>(i) * row, row);
      out += row;
    }
  };
  gather_rows(data_, copy.data_);
  gather_rows(scale_, copy.scale_);
  return copy;
}

std::span<std::byte> Kept::row_bytes_of(std::int64_t begin, std::int64_t end) {
  return bytes_of_rows(data_, begin, end);
}

std::span<std::byte> Kept::scale_bytes_of(std::int64_t begin, std::int64_t end) {
  if (!scale_.defined()) return {};
  return bytes_of_rows(scale_, begin, end);
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
