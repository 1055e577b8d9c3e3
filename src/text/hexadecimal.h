#pragma once

#include <cstdint>

namespace fathom {

/// The value of a hexadecimal digit; 16 or more where it is none.
inline std::uint32_t hexadecimal_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint32_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<std::uint32_t>(c - 'A' + 10);
  return 16;
}

}  // namespace fathom
