#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "numerics/dtype.h"

namespace fathom {

/// A type of tensors in GGUF files, whether Fathom computes with it or not.
struct GgufTensorType {
  std::uint32_t number;
  std::string_view name;      // as the `gguf` library has it: "Q4_0"
  std::int64_t block_values;  // stored together; rows hold whole blocks
  std::size_t block_bytes;
  std::optional<DType> dtype;  // of ours, where there is one
};

/// Null when the format has no type of that number.
const GgufTensorType* find_gguf_type(std::uint32_t number);
/// The type that tensors of `dtype` are stored as. Throws `Error` where GGUF has none (FP8).
const GgufTensorType& gguf_type_of(DType dtype);

}  // namespace fathom
