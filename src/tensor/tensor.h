#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "numerics/dtype.h"

namespace fathom {

/// Sizes of the dimensions, slowest first.
using Shape = std::vector<std::int64_t>;

/// Product of the sizes; throws `Error` when one is negative or the product overflows.
std::int64_t element_count(const Shape& shape);
/// "[64, 2048]".
std::string shape_text(const Shape& shape);

/// A dense row-major array. Copying a `Tensor` shares its storage, as a pointer does; `clone` copies the
/// values. Where the type is one of blocks (numerics/dtype.h), rows, along the last dimension, are
/// made of whole ones. The storage may be memory of ours, a mapped file, or part of either: `owner` keeps it
/// alive.
class Tensor {
 public:
  /// No tensor at all: `defined()` is false.
  Tensor() = default;

  /// Uninitialised values in memory of ours, 64-byte aligned.
  static Tensor empty(Shape shape, DType dtype = DType::f32);
  static Tensor zeros(Shape shape, DType dtype = DType::f32);
  /// A view of memory that `owner` keeps alive (null: the caller does).
  static Tensor view(void* data, Shape shape, DType dtype, std::shared_ptr<const void> owner);

  [[nodiscard]] bool defined() const { return data_ != nullptr; }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::int64_t dim(std::size_t i) const { return shape_.at(i); }
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::size_t byte_size() const { return stored_bytes(dtype_, size_); }

  [[nodiscard]] void* data() { return data_; }
  [[nodiscard]] const void* data() const { return data_; }
  /// The values as f32; throws `Error` when they are of another type.
  [[nodiscard]] float* f32();
  [[nodiscard]] const float* f32() const;
  [[nodiscard]] std::span<float> values() { return {f32(), static_cast<std::size_t>(size_)}; }
  [[nodiscard]] std::span<const float> values() const { return {f32(), static_cast<std::size_t>(size_)}; }
  [[nodiscard]] std::span<std::byte> bytes() { return {static_cast<std::byte*>(data_), byte_size()}; }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(data_), byte_size()};
  }

  /// A view of rows [begin, end) of the first dimension.
  [[nodiscard]] Tensor rows(std::int64_t begin, std::int64_t end) const;
  /// A view with another shape of as many elements.
  [[nodiscard]] Tensor reshape(Shape shape) const;
  [[nodiscard]] Tensor clone() const;
  void fill_zero();

 private:
  Shape shape_;
  DType dtype_ = DType::f32;
  std::int64_t size_ = 0;
  void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

}  // namespace fathom
