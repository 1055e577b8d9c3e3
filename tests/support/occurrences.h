#pragma once

#include <cstddef>
#include <string_view>

namespace fathom::test {

/// How often `part` stands in `text`, without overlaps.
inline std::size_t occurrences(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++count;
  return count;
}

}  // namespace fathom::test
