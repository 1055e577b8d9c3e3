#include "text/in_quotes.h"

#include <fmt/core.h>

#include <cstddef>

#include "text/utf8.h"

namespace fathom {

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMostBytes = 200;
  const bool cut = text.size() > kMostBytes;
  if (cut) text = text.substr(0, kMostBytes);
  std::string valid;
  append_as_utf8(text, valid);
  std::string out = "\"";
  for (const char c : valid) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + (cut ? "...\"" : "\"");
}

}  // namespace fathom
