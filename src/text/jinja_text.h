#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::jinja {

// What Python's `str` does, on UTF-8. Positions and lengths count characters.

/// A character and where it stands.
struct Character {
  std::uint32_t code_point = 0;
  std::size_t begin = 0;  // bytes
  std::size_t length = 0;
};

/// The character at byte `begin` of valid UTF-8.
Character character_at(std::string_view text, std::size_t begin);
/// The last character before byte `end`, which is not 0.
Character character_before(std::string_view text, std::size_t end);

std::int64_t count_characters(std::string_view text);
/// The byte where the character with this number begins; the end for those behind it.
std::size_t byte_of_character(std::string_view text, std::int64_t number);

/// Where `part` first stands in `text`, from byte `from` on; npos where it does not. In linear time, whatever
/// they are made of.
std::size_t find_part(std::string_view text, std::string_view part, std::size_t from = 0);

bool is_python_space(std::uint32_t code_point);
bool is_alphabetic(std::uint32_t code_point);
bool is_decimal(std::uint32_t code_point);
bool is_digit(std::uint32_t code_point);
bool is_numeric(std::uint32_t code_point);
bool is_upper(std::uint32_t code_point);
bool is_lower(std::uint32_t code_point);
bool is_title(std::uint32_t code_point);
/// Whether `repr` shows it as it is.
bool is_printable(std::uint32_t code_point);
/// Whether it may stand in a name; the first one of which is no digit.
bool is_name_start(std::uint32_t code_point);
bool is_name_part(std::uint32_t code_point);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalized(std::string_view text);
std::string titled(std::string_view text);
std::string case_swapped(std::string_view text);

enum class Side : std::uint8_t { kLeft, kRight, kBoth };
/// @param characters  to be taken away; null: white space
std::string_view strip(std::string_view text, const std::string_view* characters, Side side);

/// @param most  of cuts; negative: any number
std::vector<std::string_view> split_at_space(std::string_view text, std::int64_t most);
std::vector<std::string_view> split_at_space_from_right(std::string_view text, std::int64_t most);
/// @param separator  not empty
std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, std::int64_t most);
std::vector<std::string_view> split_from_right_at(std::string_view text, std::string_view separator,
                                                  std::int64_t most);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

}  // namespace fathom::jinja
