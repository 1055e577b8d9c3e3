#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fathom {

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4): what TFRecord files are checked with.
std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace fathom
