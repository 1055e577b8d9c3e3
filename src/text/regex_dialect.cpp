#include "text/regex_dialect.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>

#include "base/error.h"
#include "text/in_quotes.h"
#include "text/unicode_additions.h"

namespace fathom {
namespace {

constexpr std::size_t kMaxPatternBytes = 16U << 10U;

// Unicode's White_Space; PCRE2's own \s takes U+180E too. Written without brackets, to stand inside a class.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d} \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// A property and the later characters that have it, to stand inside a class.
template <typename Has>
std::string with_additions(std::string members, const Has& has) {
  for (const UnicodeAddition& addition : unicode_additions()) {
    if (!has(addition)) continue;
    members += fmt::format("\\x{{{:x}}}", addition.first);
    if (addition.last != addition.first) members += fmt::format("-\\x{{{:x}}}", addition.last);
  }
  return members;
}

// A general category: "L" or "Lu".
std::string category_members(std::string_view name) {
  return with_additions(fmt::format("\\p{{{}}}", name),
                        [&](const UnicodeAddition& a) { return a.category.starts_with(name); });
}

// A script; "sc:" because PCRE2 would take the characters that several scripts share too.
std::string script_members(std::string_view name) {
  return with_additions(fmt::format("\\p{{sc:{}}}", name),
                        [&](const UnicodeAddition& a) { return a.script == name; });
}

// Walks over a pattern once, writing the other dialect.
class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    require(pattern_.size() <= kMaxPatternBytes, "{}: the pattern is longer than {} bytes", where_,
            kMaxPatternBytes);
    while (!done()) item();
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool done() const { return at_ >= pattern_.size(); }
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }
  char take() {
    if (done()) refuse("its end");
    return pattern_[at_++];
  }
  [[noreturn]] void refuse(std::string_view what) const {
    fail("{}: the pattern {} is not supported: {} at byte {}", where_, in_quotes(pattern_), what, at_);
  }

  void item() {
    const char c = take();
    switch (c) {
      case '\\':
        return escape();
      case '[':
        return character_class();
      case '(':
        return group();
      case '{':
        return interval();
      case '^':
        out_ += "(?m:^)";  // always by lines
        return;
      case '$':
        out_ += "(?m:$)";
        return;
      default:
        out_ += c;
    }
  }

  // The members of a shorthand such as \s, written to stand inside a class.
  [[nodiscard]] static std::string shorthand(char lower) {
    switch (lower) {
      case 's':
        return std::string(kSpace);
      case 'd':
        return category_members("Nd");
      case 'w':
        // Unicode's definition, and the Latin-1 superscripts and fractions, which Oniguruma counts in.
        return "\\p{Alphabetic}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}" + category_members("L") +
               category_members("M") + category_members("Nd") + category_members("Pc");
      default:
        return "0-9A-Fa-f";  // \h
    }
  }

  void escape() {
    const char c = take();
    const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (lower == 's' || lower == 'd' || lower == 'w' || lower == 'h') {
      out_ += fmt::format("[{}{}]", c == lower ? "" : "^", shorthand(lower));
    } else if (lower == 'p') {
      const Property property = read_property(c == 'P');
      out_ += fmt::format("[{}{}]", property.negated ? "^" : "", property.members);
    } else if (lower == 'b') {
      const std::string word = "[" + shorthand('w') + "]";
      out_ += c == 'b' ? fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word)
                       : fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word);
    } else if (c == 'A' || c == 'z' || c == 'Z') {
      out_ += '\\';
      out_ += c;
    } else {
      literal_escape(c);
    }
  }

  // An escape for one character, the same inside a class and outside.
  void literal_escape(char c) {
    if (c == 'x' || c == 'u') return code_escape(c);
    constexpr std::string_view kControls = "nrtfae";
    if (c == 'v') {
      out_ += "\\x0b";  // PCRE2's \v is all vertical white space
    } else if (kControls.find(c) != std::string_view::npos || !(is_letter(c) || is_digit(c))) {
      out_ += '\\';
      out_ += c;
    } else {
      refuse("the escape " + in_quotes(std::string{'\\', c}));
    }
  }

  void code_escape(char kind) {
    const bool braced = kind == 'x' && peek() == '{';
    if (braced) ++at_;
    const std::size_t most = braced ? 8 : (kind == 'u' ? 4 : 2);
    std::string digits;
    while (digits.size() < most && std::isxdigit(static_cast<unsigned char>(peek())) != 0) digits += take();
    if (digits.empty() || (kind == 'u' && digits.size() != 4)) refuse("an escape without its digits");
    if (braced && take() != '}') refuse("an escape without its }");
    // A lone byte above 7F would be part of an encoded character there, and a character here.
    if (kind == 'x' && !braced && digits.size() == 2 && digits[0] >= '8') refuse("an escape of a raw byte");
    out_ += fmt::format("\\x{{{}}}", digits);
  }

  struct Property {
    std::string members;
    bool negated = false;
  };

  // After \p or \P.
  Property read_property(bool negated) {
    if (take() != '{') refuse("a property without {");
    if (peek() == '^') {
      ++at_;
      negated = !negated;
    }
    std::string name;
    while (!done() && peek() != '}') name += take();
    take();
    const bool plain = !name.empty() &&
                       std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || c == '_'; });
    if (!plain) refuse("a property's name");
    constexpr std::string_view kVersionDependent[] = {"C", "Cn"};
    if (std::find(std::begin(kVersionDependent), std::end(kVersionDependent), name) !=
        std::end(kVersionDependent)) {
      refuse("a property that changes with each Unicode version");
    }
    if (name.size() <= 2) return {category_members(name), negated};
    return {script_members(name), negated};
  }

  void character_class() {
    out_ += '[';
    if (peek() == '^') out_ += take();
    if (peek() == ']') refuse("an empty class");
    while (peek() != ']' || done()) class_item();
    out_ += take();
  }

  void class_item() {
    const char c = take();
    if (c == '[') refuse("a class inside a class");
    if (c == '&' && peek() == '&') refuse("an intersection of classes");
    if (c != '\\') {
      out_ += c;
      return;
    }
    const char escaped = take();
    const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(escaped)));
    if (lower == 's' && escaped == 'S') {
      // The complement, range by range.
      out_ +=
          R"(\x{0}-\x{8}\x{e}-\x{1f}!-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{d7ff}\x{e000}-\x{10ffff})";
    } else if (lower == 's' || lower == 'd' || lower == 'w' || lower == 'h') {
      if (escaped != lower) refuse("a negated shorthand inside a class");
      out_ += shorthand(lower);
    } else if (lower == 'p') {
      const Property property = read_property(escaped == 'P');
      if (property.negated) refuse("a negated property inside a class");
      out_ += property.members;
    } else {
      literal_escape(escaped);
    }
  }

  void group() {
    out_ += '(';
    if (peek() != '?') return;
    out_ += take();
    constexpr std::string_view kKinds[] = {":", "=", "!", ">", "<=", "<!", "i:", "i)", "-i:", "-i)"};
    for (const std::string_view kind : kKinds) {
      if (pattern_.substr(at_).starts_with(kind)) {
        out_ += kind;
        at_ += kind.size();
        return;
      }
    }
    refuse("a group of an unknown kind");
  }

  // {n}, {n,}, {,n}, {n,m}; anything else in braces is text.
  void interval() {
    const std::size_t close = pattern_.find('}', at_);
    const std::string_view body =
        close == std::string_view::npos ? std::string_view{} : pattern_.substr(at_, close - at_);
    const bool counts = !body.empty() && body != "," && std::all_of(body.begin(), body.end(), [](char c) {
      return is_digit(c) || c == ',';
    }) && std::count(body.begin(), body.end(), ',') <= 1;
    if (!counts) {
      out_ += "\\{";
      return;
    }
    at_ = close + 1;
    // There "{n,m}+" repeats the repetition and "{n}?" makes it optional; here both are other things.
    if (peek() == '+') refuse("a possessive interval");
    if (peek() == '?' && body.find(',') == std::string_view::npos) refuse("an interval with ?");
    out_ += fmt::format("{{{}{}}}", body.front() == ',' ? "0" : "", body);
  }

  std::string_view pattern_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string pcre2_pattern_of(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

}  // namespace fathom
