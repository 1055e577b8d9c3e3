#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "numerics/dtype.h"
#include "tensor/tensor.h"

namespace fathom {

// A safetensors file: 8 bytes, the header's length (u64, little-endian); the header, a JSON object
//   {"__metadata__": {"key": "value", ...}, "NAME": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0,
//   12]}, ...}
// padded with spaces; the tensors' bytes, little-endian, row-major, without gaps. Offsets count from the end
// of the header.

/// One tensor of a safetensors file.
struct TensorEntry {
  std::string name;
  std::string dtype;  // as the header names it: any type of the format, not only those of `DType`
  Shape shape;
  std::uint64_t offset = 0;  // of the first byte, from the start of the file
  std::uint64_t bytes = 0;
};

using TensorMetadata = std::map<std::string, std::string>;

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;  // in the order of their bytes
  TensorMetadata metadata;           // the `__metadata__` of the file
};

/// Reads and checks the header of a whole file: its length and JSON, each tensor's dtype and shape, and that
/// the tensors' bytes lie in the file, agree with dtype and shape, and cover it without overlap or gap.
/// @param where  names the file in error messages
/// Throws `Error` naming the file, the tensor and what was expected. Reads nothing beyond the header.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, std::string_view where);

/// How one tensor is to be stored.
struct StoredTensor {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
};

/// Lays tensors out in a file, wider types first so that each starts at a multiple of its element's size,
/// otherwise in the order given. Throws `Error` on a name given twice or a size that overflows.
SafetensorsHeader lay_out_safetensors(const std::vector<StoredTensor>& tensors, TensorMetadata metadata,
                                      std::string_view where);

/// The bytes before the first tensor: length and JSON, padded to a multiple of 64. Offsets of
/// `header.entries` are taken from the end of these bytes, whatever they say now, and set to count from the
/// start of the file.
std::string serialize_safetensors_header(SafetensorsHeader& header);

}  // namespace fathom
