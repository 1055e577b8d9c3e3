#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace fathom {

/// A run of characters that Unicode 15.0 to 16.0 assigned, with their general category. The PCRE2 of Debian
/// 12 knows Unicode 14 and holds them for unassigned; tokenizers made with `tokenizers` know them.
struct UnicodeAddition {
  std::string_view category;  // two letters
  std::uint32_t first;
  std::uint32_t last;  // included
};

std::span<const UnicodeAddition> unicode_additions();

}  // namespace fathom
