#include "text/jinja_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "text/jinja_budget.h"
#include "text/jinja_case.h"
#include "text/utf8.h"

namespace fathom::jinja {

Character character_at(std::string_view text, std::size_t begin) {
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(text[begin + i]));
  };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {first, begin, 1};
  if (first < 0xE0) return {(first & 0x1F) << 6U | (byte(1) & 0x3F), begin, 2};
  if (first < 0xF0) return {(first & 0x0F) << 12U | (byte(1) & 0x3F) << 6U | (byte(2) & 0x3F), begin, 3};
  return {(first & 0x07) << 18U | (byte(1) & 0x3F) << 12U | (byte(2) & 0x3F) << 6U | (byte(3) & 0x3F), begin,
          4};
}

namespace {
bool continues(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}
}  // namespace

Character character_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && continues(text[begin])) --begin;
  return character_at(text, begin);
}

std::int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return !continues(c); });
}

std::size_t byte_of_character(std::string_view text, std::int64_t number) {
  std::size_t at = 0;
  for (; number > 0 && at < text.size(); --number) {
    ++at;
    while (at < text.size() && continues(text[at])) ++at;
  }
  return at;
}

std::size_t find_part(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

namespace {
utf8proc_category_t category_of(std::uint32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}
}  // namespace

bool is_python_space(std::uint32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_alphabetic(std::uint32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(std::uint32_t c) {
  return c < 0x80 ? c >= '0' && c <= '9' : category_of(c) == UTF8PROC_CATEGORY_ND;
}
bool is_digit(std::uint32_t c) {
  // Beside decimals, digits that stand in no number: superscripts, subscripts and circled ones.
  return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
         (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468) ||
         (c >= 0x2474 && c <= 0x247C) || (c >= 0x2488 && c <= 0x2490) || c == 0x24EA ||
         (c >= 0x24F5 && c <= 0x24FD) || c == 0x24FF || (c >= 0x2776 && c <= 0x277E) ||
         (c >= 0x2780 && c <= 0x2788) || (c >= 0x278A && c <= 0x2792);
}
bool is_numeric(std::uint32_t c) {
  const auto category = category_of(c);
  return is_digit(c) || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}
bool is_upper(std::uint32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  return category_of(c) == UTF8PROC_CATEGORY_LU;
}
bool is_lower(std::uint32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  return category_of(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA;
}
bool is_title(std::uint32_t c) {
  return c >= 0x80 && category_of(c) == UTF8PROC_CATEGORY_LT;
}

bool is_printable(std::uint32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  switch (category_of(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_name_start(std::uint32_t c) {
  return is_alphabetic(c) || c == '_' || (c >= 0x80 && category_of(c) == UTF8PROC_CATEGORY_NL);
}
bool is_name_part(std::uint32_t c) {
  if (is_name_start(c) || is_decimal(c)) return true;
  if (c < 0x80) return false;
  const auto category = category_of(c);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_PC;
}

namespace {

bool is_cased(std::uint32_t c) {
  return is_upper(c) || is_lower(c) || is_title(c);
}

template <typename Use>
void for_each_character(std::string_view text, const Use& use) {
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    use(c);
    at += c.length;
  }
}

// A sigma ends a word where a letter stands before it and none behind it.
bool is_final_sigma(std::string_view text, const Character& sigma) {
  std::size_t before = sigma.begin;
  bool follows_letter = false;
  while (before > 0) {
    const Character c = character_before(text, before);
    before = c.begin;
    if (category_of(c.code_point) == UTF8PROC_CATEGORY_MN || c.code_point == '\'') continue;
    follows_letter = is_cased(c.code_point);
    break;
  }
  if (!follows_letter) return false;
  for (std::size_t at = sigma.begin + sigma.length; at < text.size();) {
    const Character c = character_at(text, at);
    at += c.length;
    if (category_of(c.code_point) == UTF8PROC_CATEGORY_MN || c.code_point == '\'') continue;
    return !is_cased(c.code_point);
  }
  return true;
}

void append_lower(std::string_view text, const Character& c, std::string& out) {
  if (c.code_point < 0x80) {
    out += static_cast<char>(c.code_point >= 'A' && c.code_point <= 'Z' ? c.code_point + 32 : c.code_point);
  } else if (c.code_point == 0x3A3) {
    append_code_point(is_final_sigma(text, c) ? 0x3C2 : 0x3C3, out);
  } else {
    append_lower_case(c.code_point, out);
  }
}

}  // namespace

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](const Character& c) { append_upper_case(c.code_point, out); });
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](const Character& c) { append_lower(text, c, out); });
  return out;
}

std::string capitalized(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](const Character& c) {
    if (c.begin == 0)
      append_title_case(c.code_point, out);
    else
      append_lower(text, c, out);
  });
  return out;
}

std::string titled(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_word = false;
  for_each_character(text, [&](const Character& c) {
    if (in_word)
      append_lower(text, c, out);
    else
      append_title_case(c.code_point, out);
    in_word = is_cased(c.code_point);
  });
  return out;
}

std::string case_swapped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](const Character& c) {
    if (is_upper(c.code_point))
      append_lower(text, c, out);
    else if (is_lower(c.code_point))
      append_upper_case(c.code_point, out);
    else
      append_code_point(c.code_point, out);
  });
  return out;
}

std::string_view strip(std::string_view text, const std::string_view* characters, Side side) {
  const auto goes = [&](const Character& c) {
    if (characters == nullptr) return is_python_space(c.code_point);
    return characters->find(text.substr(c.begin, c.length)) != std::string_view::npos;
  };
  std::size_t begin = 0;
  std::size_t end = text.size();
  if (side != Side::kRight)
    while (begin < end) {
      const Character c = character_at(text, begin);
      if (!goes(c)) break;
      begin += c.length;
    }
  if (side != Side::kLeft)
    while (end > begin) {
      const Character c = character_before(text, end);
      if (!goes(c)) break;
      end = c.begin;
    }
  return text.substr(begin, end - begin);
}

namespace {
void add_part(std::vector<std::string_view>& parts, std::string_view part) {
  Budget::check_items(parts.size() + 1);
  parts.push_back(part);
}
}  // namespace

std::vector<std::string_view> split_at_space(std::string_view text, std::int64_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, nullptr, Side::kLeft);
  while (!text.empty()) {
    if (most >= 0 && static_cast<std::int64_t>(parts.size()) == most) {
      add_part(parts, text);  // with the white space at its end
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      const Character c = character_at(text, end);
      if (is_python_space(c.code_point)) break;
      end += c.length;
    }
    add_part(parts, text.substr(0, end));
    text = strip(text.substr(end), nullptr, Side::kLeft);
  }
  return parts;
}

std::vector<std::string_view> split_at_space_from_right(std::string_view text, std::int64_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, nullptr, Side::kRight);
  while (!text.empty()) {
    if (most >= 0 && static_cast<std::int64_t>(parts.size()) == most) {
      add_part(parts, text);
      break;
    }
    std::size_t begin = text.size();
    while (begin > 0) {
      const Character c = character_before(text, begin);
      if (is_python_space(c.code_point)) break;
      begin = c.begin;
    }
    add_part(parts, text.substr(begin));
    text = strip(text.substr(0, begin), nullptr, Side::kRight);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, std::int64_t most) {
  std::vector<std::string_view> parts;
  while (most < 0 || static_cast<std::int64_t>(parts.size()) < most) {
    const std::size_t at = find_part(text, separator);
    if (at == std::string_view::npos) break;
    add_part(parts, text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  add_part(parts, text);
  return parts;
}

std::vector<std::string_view> split_from_right_at(std::string_view text, std::string_view separator,
                                                  std::int64_t most) {
  std::vector<std::string_view> parts;
  while (most < 0 || static_cast<std::int64_t>(parts.size()) < most) {
    const std::size_t at = text.rfind(separator);
    if (at == std::string_view::npos) break;
    add_part(parts, text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  add_part(parts, text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const std::uint32_t code = c.code_point;
    std::size_t next = at + c.length;
    const bool is_break = (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
                          code == 0x2028 || code == 0x2029;
    if (is_break) {
      if (code == '\r' && next < text.size() && text[next] == '\n') ++next;
      add_part(lines, text.substr(begin, (keep_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) add_part(lines, text.substr(begin));
  return lines;
}

}  // namespace fathom::jinja
