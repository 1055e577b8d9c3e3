#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fathom {

/// The first character of `text`, which is valid UTF-8 and not empty.
std::uint32_t first_code_point(std::string_view text);

struct ByteRange {
  std::uint8_t low = 0;
  std::uint8_t high = 0;  // included

  auto operator<=>(const ByteRange&) const = default;
};

/// The UTF-8 of the characters `first` to `last` (both included, on one side of the surrogates), as few
/// sequences of byte ranges: U+0000 to U+07FF are [00-7F] and [C2-DF][80-BF].
std::vector<std::vector<ByteRange>> utf8_ranges(std::uint32_t first, std::uint32_t last);

}  // namespace fathom
