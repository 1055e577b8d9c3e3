#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace fathom {

/// A run of characters that Unicode 15.0 to 16.0 assigned. The PCRE2 of Debian 12 knows Unicode 14 and holds
/// them for unassigned, while the `tokenizers` library knows them. (One older character changed too: U+1171E
/// is Mc now and Mn in Unicode 14; only a pattern that names one of the two sees it.)
struct UnicodeAddition {
  std::string_view category;  // two letters
  std::string_view script;    // empty: a script that Unicode 14 does not have
  std::uint32_t first;
  std::uint32_t last;  // included
};

std::span<const UnicodeAddition> unicode_additions();

}  // namespace fathom
