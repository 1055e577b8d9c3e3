#include "text/json_text.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/code_points.h"
#include "text/utf8.h"

namespace fathom {
namespace {

using Parts = std::vector<GrammarExpr>;

constexpr std::uint32_t kFirstPlain = 0x20;  // what is before it is a control character
const std::vector<CodePointRange> kEscaped = {{0, kFirstPlain - 1}, {'"', '"'}, {'\\', '\\'}};

/// Characters with an escape of two bytes, and its second one.
constexpr std::pair<char, char> kShortEscapes[] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                                   {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};

bool holds(const std::vector<CodePointRange>& ranges, std::uint32_t code_point) {
  return std::ranges::any_of(ranges, [&](const CodePointRange& range) {
    return range.first <= code_point && code_point <= range.last;
  });
}

/// Escapes of the control characters, the quote and the backslash that `is_wanted` says.
template <typename IsWanted>
GrammarExpr escapes(const IsWanted& is_wanted) {
  Parts parts;
  for (std::uint32_t c = 0; c < 128; ++c)
    if (holds(kEscaped, c) && is_wanted(c)) {
      const std::string quoted = json_quoted(std::string(1, static_cast<char>(c)));
      parts.push_back(expr::literal(quoted.substr(1, quoted.size() - 2)));
    }
  return expr::choice(std::move(parts));
}

GrammarExpr hex_digits(std::int64_t count) {
  return expr::repeat(expr::char_class({{'0', '9'}, {'a', 'f'}, {'A', 'F'}}), count, count);
}

/// \uXXXX of a character, or of the two halves of one.
GrammarExpr unicode_escape() {
  const GrammarExpr d = expr::char_class({{'d', 'd'}, {'D', 'D'}});
  const GrammarExpr below_8 = expr::char_class({{'0', '7'}});
  const GrammarExpr low_half = expr::char_class({{'c', 'f'}, {'C', 'F'}});
  const GrammarExpr high_half = expr::char_class({{'8', '9'}, {'a', 'b'}, {'A', 'B'}});
  const GrammarExpr not_d = expr::char_class({{'0', '9'}, {'a', 'c'}, {'A', 'C'}, {'e', 'f'}, {'E', 'F'}});
  return expr::choice({
      expr::sequence({expr::literal("\\u"), not_d, hex_digits(3)}),
      expr::sequence({expr::literal("\\u"), d, below_8, hex_digits(2)}),
      expr::sequence({expr::literal("\\u"), d, high_half, hex_digits(2), expr::literal("\\u"), d, low_half,
                      hex_digits(2)}),
  });
}

GrammarExpr quoted(GrammarExpr inside) {
  return expr::sequence({expr::literal("\""), std::move(inside), expr::literal("\"")});
}

/// Names by their beginnings.
struct NameTree {
  bool is_name = false;
  std::map<std::uint32_t, NameTree> next;
};

/// What may follow the characters that lead to `tree`, so that the whole is no name. Escapes that a character
/// can do without, which would be another way to write a name, are left out.
GrammarExpr other_than(const NameTree& tree) {
  std::vector<CodePointRange> taken;
  Parts parts;
  for (const auto& [c, below] : tree.next) {
    taken.push_back({c, c});
    parts.push_back(expr::sequence({json_chars({{c, c}}), other_than(below)}));
  }
  parts.push_back(expr::sequence({json_chars_except(taken), expr::repeat(json_chars_except({}), 0)}));
  if (!tree.is_name) parts.push_back(expr::empty_text());
  return expr::choice(std::move(parts));
}

}  // namespace

GrammarExpr json_space() {
  constexpr std::int64_t kMostLines = 2;
  constexpr std::int64_t kDeepest = 32;
  GrammarExpr line = expr::sequence({expr::optional(expr::literal("\r")), expr::literal("\n")});
  GrammarExpr indent = expr::repeat(expr::char_class({{' ', ' '}, {'\t', '\t'}}), 0, kDeepest);
  return expr::choice({expr::empty_text(), expr::literal(" "),
                       expr::sequence({expr::repeat(std::move(line), 1, kMostLines), std::move(indent)})});
}

GrammarExpr json_chars(const std::vector<CodePointRange>& ranges) {
  std::vector<CodePointRange> plain;
  for (const CodePointRange& range : ranges) {
    std::uint32_t first = std::max(range.first, kFirstPlain);
    for (const std::uint32_t c : {std::uint32_t{'"'}, std::uint32_t{'\\'}})
      if (first <= c && c <= range.last) {
        if (first < c) plain.push_back({first, c - 1});
        first = c + 1;
      }
    if (first <= range.last) plain.push_back({first, range.last});
  }
  return expr::choice(
      {expr::char_class(std::move(plain)), escapes([&](std::uint32_t c) { return holds(ranges, c); })});
}

GrammarExpr json_chars_except(const std::vector<CodePointRange>& ranges) {
  std::vector<CodePointRange> excluded = ranges;
  excluded.insert(excluded.end(), kEscaped.begin(), kEscaped.end());
  return expr::choice({expr::char_class_except(std::move(excluded)),
                       escapes([&](std::uint32_t c) { return !holds(ranges, c); })});
}

GrammarExpr json_any_char() {
  return expr::choice({expr::char_class_except(kEscaped),
                       expr::sequence({expr::literal("\\"), expr::char_class({{'"', '"'},
                                                                              {'\\', '\\'},
                                                                              {'/', '/'},
                                                                              {'b', 'b'},
                                                                              {'f', 'f'},
                                                                              {'n', 'n'},
                                                                              {'r', 'r'},
                                                                              {'t', 't'}})}),
                       unicode_escape()});
}

GrammarExpr json_string(std::int64_t least, std::int64_t most) {
  return quoted(expr::repeat(json_any_char(), least, most));
}

GrammarExpr json_string_except(const std::set<std::string>& names) {
  NameTree tree;
  for (const std::string& name : names) {
    NameTree* at = &tree;
    for (std::string_view left = name; !left.empty(); left.remove_prefix(next_utf8_unit(left).length))
      at = &at->next[first_code_point(left)];
    at->is_name = true;
  }
  return quoted(other_than(tree));
}

std::string json_quoted(std::string_view utf8) {
  return Json(utf8).dump();
}

}  // namespace fathom
