#pragma once

#include <cstddef>
#include <cstdint>

#include "numerics/dtype.h"

namespace fathom {

// The types of blocks that are read and not written: IQ1, IQ2 and IQ3, TQ and MXFP4, laid out as GGUF files
// store them. A block is one or eight parts of 32 values; each half of a part has a scale.

/// Part of a block: value i = scales[i / 16] · codes[i].
struct CodedPart {
  static constexpr std::size_t kValues = 32;
  std::int8_t codes[kValues];  // -62 to 62
  float scales[2];
};

/// Reads part `part` of `block`, which may lie at any address.
using ReadCodedPart = void (*)(const std::uint8_t* block, std::size_t part, CodedPart& out);

/// Whether it is one of these types.
[[nodiscard]] inline bool is_coded(DType dtype) {
  return is_block_quantized(dtype) && !has_encoder(dtype);
}
/// How parts of `dtype` are read. Throws `Error` if it is none of these types.
ReadCodedPart coded_part_reader(DType dtype);

}  // namespace fathom
