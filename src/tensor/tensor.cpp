#include "tensor/tensor.h"

#include <cstring>
#include <utility>

#include "base/error.h"
#include "tensor/storage.h"

namespace fathom {

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  // `require` would make the text of every shape: too slow for the many small tensors of a decode step.
  for (const std::int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) [[unlikely]]
      fail("the shape {} has no valid element count", shape_text(shape));
  return count;
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

Tensor Tensor::empty(Shape shape, DType dtype) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(element_count(shape) / block_values(dtype), block_bytes(dtype), &bytes))
      [[unlikely]]
    fail("cannot allocate a tensor of shape {}", shape_text(shape));
  std::shared_ptr<void> storage = allocate_storage(bytes);
  void* data = storage.get();
  return view(data, std::move(shape), dtype, std::move(storage));
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor tensor = empty(std::move(shape), dtype);
  tensor.fill_zero();
  return tensor;
}

Tensor Tensor::view(void* data, Shape shape, DType dtype, std::shared_ptr<const void> owner) {
  Tensor tensor;
  tensor.size_ = element_count(shape);
  if (is_block_quantized(dtype) && (shape.empty() || shape.back() % block_values(dtype) != 0)) [[unlikely]]
    fail("rows of {} are blocks of {} values, which a tensor of shape {} has not", dtype_name(dtype),
         block_values(dtype), shape_text(shape));
  tensor.shape_ = std::move(shape);
  tensor.dtype_ = dtype;
  tensor.data_ = data;
  tensor.owner_ = std::move(owner);
  return tensor;
}

float* Tensor::f32() {
  return const_cast<float*>(std::as_const(*this).f32());
}

const float* Tensor::f32() const {
  require(dtype_ == DType::f32, "a tensor of {} was used as F32", dtype_name(dtype_));
  return static_cast<const float*>(data_);
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  require(!shape_.empty() && 0 <= begin && begin <= end && end <= shape_[0],
          "rows [{}, {}) of a tensor of shape {}", begin, end, shape_text(shape_));
  Shape shape = shape_;
  shape[0] = end - begin;
  require(!is_block_quantized(dtype_) || shape_.size() > 1, "one row of {} is not cut", dtype_name(dtype_));
  const std::int64_t row = shape_[0] == 0 ? 0 : size_ / shape_[0];
  auto* start = static_cast<std::byte*>(data_) + stored_bytes(dtype_, begin * row);
  return view(start, std::move(shape), dtype_, owner_);
}

Tensor Tensor::reshape(Shape shape) const {
  require(element_count(shape) == size_, "cannot reshape {} to {}", shape_text(shape_), shape_text(shape));
  return view(data_, std::move(shape), dtype_, owner_);
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape_, dtype_);
  if (size_ > 0) std::memcpy(copy.data_, data_, byte_size());
  return copy;
}

void Tensor::fill_zero() {
  if (size_ > 0) std::memset(data_, 0, byte_size());
}

}  // namespace fathom
