#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom {

/// What stands at the start of some bytes read as UTF-8.
struct Utf8Unit {
  enum class Kind : std::uint8_t {
    kCharacter,   // one character, `length` bytes
    kInvalid,     // `length` bytes that a decoder replaces by one U+FFFD (Unicode's "maximal subpart")
    kIncomplete,  // all bytes given begin a character whose end is missing
  };
  Kind kind;
  std::size_t length;
};

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// @param bytes  not empty
Utf8Unit next_utf8_unit(std::string_view bytes);

bool is_valid_utf8(std::string_view bytes);

/// Appends `bytes` with each invalid run replaced by U+FFFD, exactly as Python's
/// `bytes.decode("utf-8", errors="replace")` and Rust's `from_utf8_lossy` do.
void append_as_utf8(std::string_view bytes, std::string& out);

/// Appends one character. @param code_point  a Unicode scalar value
void append_code_point(std::uint32_t code_point, std::string& out);

}  // namespace fathom
