#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom {

/// Element types of tensors, named as in safetensors headers.
enum class DType : std::uint8_t { f32, bf16, f16, f8_e4m3, f8_e5m2, i64, i32, u8 };

/// Bytes of one element.
std::size_t dtype_size(DType dtype);
/// "F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "I64", "I32", "U8".
std::string_view dtype_name(DType dtype);
/// The inverse of `dtype_name`.
std::optional<DType> dtype_from_name(std::string_view name);

}  // namespace fathom
