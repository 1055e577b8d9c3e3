#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom {

/// Element types of tensors. Plain ones are named as in safetensors headers; those after them, which store
/// blocks of values with scales of their own, as in GGUF (numerics/quant_blocks.h).
enum class DType : std::uint8_t {
  f32,
  bf16,
  f16,
  f8_e4m3,
  f8_e5m2,
  i64,
  i32,
  u8,  // plain
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  iq4_nl,  // blocks of 32 values
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_xs,  // of 256
  iq1_s,
  iq1_m,
  iq2_xxs,
  iq2_xs,
  iq2_s,
  iq3_xxs,
  iq3_s,
  tq1_0,
  tq2_0,  // of 256, read only
  mxfp4,  // of 32, read only
};

/// Bytes of one element of a plain type. Throws `Error` for a type of blocks.
std::size_t dtype_size(DType dtype);
/// "F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "I64", "I32", "U8"; "Q4_0", "Q4_K", "IQ4_NL" and so on.
std::string_view dtype_name(DType dtype);
/// The inverse of `dtype_name`, for plain types.
std::optional<DType> dtype_from_name(std::string_view name);
/// The same for types of blocks.
std::optional<DType> block_dtype_from_name(std::string_view name);

/// Any type, by its name in any case, as people type it.
std::optional<DType> dtype_from_text(std::string_view text);

/// Values that are stored together: 1 of a plain type. Rows of a tensor hold whole blocks.
std::int64_t block_values(DType dtype);
/// Bytes that they take.
std::size_t block_bytes(DType dtype);
[[nodiscard]] inline bool is_block_quantized(DType dtype) {
  return block_values(dtype) > 1;
}
/// Whether values are encoded as this type of blocks (kernels/encode_blocks.h); the others are only read.
[[nodiscard]] inline bool has_encoder(DType dtype) {
  return is_block_quantized(dtype) && dtype <= DType::iq4_xs;
}
/// Bytes of `count` values, a whole number of blocks.
inline std::size_t stored_bytes(DType dtype, std::int64_t count) {
  return static_cast<std::size_t>(count / block_values(dtype)) * block_bytes(dtype);
}

}  // namespace fathom
