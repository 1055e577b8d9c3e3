#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf_types.h"
#include "io/gguf_value.h"
#include "tensor/tensor.h"

namespace fathom {

// A GGUF file, version 3 (little-endian throughout): "GGUF", u32 version, u64 tensors, u64 keys; for each key
// its name, u32 type, value; for each tensor its name, u32 dimensions, u64 sizes (fastest first), u32 type,
// u64 offset; zero bytes up to a multiple of the alignment; then the tensors' bytes, each at an offset from
// there that is such a multiple. Strings are u64 bytes and text without an end mark, arrays u32 type, u64
// count and elements.

inline constexpr std::string_view kGgufAlignmentKey = "general.alignment";
inline constexpr std::uint64_t kGgufDefaultAlignment = 32;
/// What ggml has room for: longer names and more dimensions cannot be written.
inline constexpr std::size_t kGgufMaxNameBytes = 63;
inline constexpr std::size_t kGgufMaxDimensions = 4;

/// One tensor of a GGUF file.
struct GgufTensor {
  std::string name;
  Shape shape;  // slowest first, as everywhere here
  const GgufTensorType* type = nullptr;
  std::uint64_t offset = 0;  // of the first byte, from the start of the file
  std::uint64_t bytes = 0;
};

struct GgufHeader {
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // as listed
};

/// Reads and checks the header of a whole file: version, metadata, and that each tensor has a known type,
/// whole blocks in its rows, and bytes that lie in the file and are nobody else's. Versions 2 and 3.
/// @param where  names the file in error messages
/// Throws `Error` naming the file, the key or tensor, and what was expected. Reads nothing beyond the header.
GgufHeader parse_gguf_header(std::span<const std::byte> file, std::string_view where);

/// Bytes of a tensor of that type. Throws `Error` where rows are not whole blocks or the number overflows.
std::uint64_t gguf_tensor_bytes(const Shape& shape, const GgufTensorType& type);

/// The bytes before the first tensor, whole: gives the tensors, in their order, their offsets from the start
/// of the file, and pads to the alignment that the metadata name. Throws `Error` on names that are too long
/// or taken.
std::string serialize_gguf_header(GgufHeader& header, std::string_view where);

}  // namespace fathom
