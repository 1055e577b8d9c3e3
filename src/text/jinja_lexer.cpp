#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "text/hexadecimal.h"
#include "text/in_quotes.h"
#include "text/jinja_text.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

constexpr std::size_t kMaxTokens = 400'000;

/// Line ends as "\n", without the one at the end.
std::string with_plain_line_ends(std::string_view source) {
  std::string plain;
  plain.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      plain += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      plain += source[i];
    }
  }
  if (plain.ends_with('\n')) plain.pop_back();
  return plain;
}

/// Resolves escapes as Python's "unicode-escape" does, a piece at a time.
class StringReader {
 public:
  StringReader(std::string_view text, int line) : text_(text), line_(line) {}

  std::string run() {
    std::string out;
    while (at_ < text_.size()) {
      if (text_[at_] != '\\') {
        out += text_[at_++];
        continue;
      }
      ++at_;
      escape(out);
    }
    return out;
  }

 private:
  void escape(std::string& out) {
    if (at_ >= text_.size()) throw SyntaxFault("a string ends with \\", line_);
    const Character c = character_at(text_, at_);
    at_ += c.length;
    static constexpr std::string_view kNames = "\\'\"abfnrtv";
    static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    if (c.code_point < 0x80) {
      const char letter = static_cast<char>(c.code_point);
      if (const auto known = kNames.find(letter); known != std::string_view::npos) {
        out += kMeanings[known];
      } else if (letter == '\n') {
        return;  // a line that goes on
      } else if (letter == 'x') {
        hexadecimal(2, out);
      } else if (letter == 'u') {
        hexadecimal(4, out);
      } else if (letter == 'U') {
        hexadecimal(8, out);
      } else if (letter == 'N') {
        throw SyntaxFault("the escape \\N is not supported: write the character itself", line_);
      } else if (letter >= '0' && letter <= '7') {
        octal(letter, out);
      } else {
        out += '\\';
        out += letter;
      }
      return;
    }
    // Python writes the character as an escape first, whose backslash is then taken for one that was escaped.
    out += c.code_point < 0x100     ? fmt::format("\\x{:02x}", c.code_point)
           : c.code_point < 0x10000 ? fmt::format("\\u{:04x}", c.code_point)
                                    : fmt::format("\\U{:08x}", c.code_point);
  }

  void octal(char first, std::string& out) {
    auto code = static_cast<std::uint32_t>(first - '0');
    for (int i = 0; i < 2 && at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '7'; ++i)
      code = code * 8 + static_cast<std::uint32_t>(text_[at_++] - '0');
    append_code_point(code, out);
  }

  void hexadecimal(int digits, std::string& out) {
    std::uint32_t code = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const std::uint32_t digit = at_ < text_.size() ? hexadecimal_digit(text_[at_]) : 16;
      if (digit > 15) throw SyntaxFault(fmt::format("an escape needs {} hexadecimal digits", digits), line_);
      code = code * 16 + digit;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
      throw SyntaxFault("an escape of what is no character", line_);
    append_code_point(code, out);
  }

  std::string_view text_;
  int line_;
  std::size_t at_ = 0;
};

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_plain_line_ends(source)), text_(source_) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) root();
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { throw SyntaxFault(what, line_); }
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  [[nodiscard]] bool follows(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  /// Goes on to byte `to`, counting lines.
  void advance_to(std::size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    if (to > at_) line_starting_ = text_[to - 1] == '\n';
    at_ = to;
  }

  Token& add(TokenKind kind, std::string text) {
    if (tokens_.size() >= kMaxTokens) refuse(fmt::format("more than {} tokens", kMaxTokens));
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    return tokens_.emplace_back(std::move(token));
  }

  void add_data(std::string_view data) {
    if (!data.empty()) add(TokenKind::kData, std::string(data));
  }

  [[nodiscard]] std::size_t end_of_space(std::size_t from) const {
    while (from < text_.size()) {
      const Character c = character_at(text_, from);
      if (!is_python_space(c.code_point)) break;
      from += c.length;
    }
    return from;
  }

  /// The text before a tag, cut as its sign says: '-' takes all white space away, '+' none; without a sign a
  /// block takes what stands before it on its line.
  [[nodiscard]] std::string_view stripped(std::string_view data, char sign, bool is_variable) const {
    if (sign == '-') return strip(data, nullptr, Side::kRight);
    if (sign == '+' || is_variable) return data;
    const std::size_t line = data.rfind('\n') == std::string_view::npos ? 0 : data.rfind('\n') + 1;
    if (line == 0 && !line_starting_) return data;
    const bool is_blank = line < data.size() && strip(data.substr(line), nullptr, Side::kLeft).empty();
    return is_blank ? data.substr(0, line) : data;
  }

  void root() {
    std::size_t tag = at_;
    while (true) {
      tag = text_.find('{', tag);
      if (tag == std::string_view::npos || tag + 1 >= text_.size()) {
        add_data(text_.substr(at_));
        advance_to(text_.size());
        return;
      }
      const char kind = text_[tag + 1];
      if (kind == '%' || kind == '{' || kind == '#') break;
      ++tag;
    }
    const char kind = text_[tag + 1];
    const char sign =
        tag + 2 < text_.size() && (text_[tag + 2] == '-' || text_[tag + 2] == '+') ? text_[tag + 2] : '\0';
    add_data(stripped(text_.substr(at_, tag - at_), sign, kind == '{'));
    advance_to(tag);
    if (kind == '%' && raw(sign)) return;
    advance_to(tag + (sign == '\0' ? 2 : 3));
    if (kind == '#') {
      comment();
    } else {
      const bool is_block = kind == '%';
      add(is_block ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
      while (!end_of_tag(is_block)) expression_token();
    }
  }

  /// "%}" and what goes with it from byte `at`: the byte behind, or npos where it does not stand there.
  [[nodiscard]] std::size_t end_of_block(std::size_t at, std::string_view close) const {
    const std::string_view rest = text_.substr(at);
    if (rest.starts_with('+') && rest.substr(1).starts_with(close)) return at + 1 + close.size();
    if (rest.starts_with('-') && rest.substr(1).starts_with(close))
      return end_of_space(at + 1 + close.size());
    if (!rest.starts_with(close)) return std::string_view::npos;
    const std::size_t end = at + close.size();
    return end < text_.size() && text_[end] == '\n' ? end + 1 : end;
  }

  bool end_of_tag(bool is_block) {
    if (at_ >= text_.size())
      refuse(is_block ? "a block does not end: %} is missing" : "an output does not end: }} is missing");
    if (!open_.empty()) return false;
    std::size_t end = std::string_view::npos;
    if (is_block) {
      end = end_of_block(at_, "%}");
    } else if (follows("-}}")) {
      end = end_of_space(at_ + 3);
    } else if (follows("}}")) {
      end = at_ + 2;
    }
    if (end == std::string_view::npos) return false;
    add(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
    advance_to(end);
    return true;
  }

  void comment() {
    if (at_ >= text_.size())
      return;  // as Jinja2, which asks for an end where there is something inside alone
    const std::size_t close = text_.find("#}", at_);
    if (close == std::string_view::npos) refuse("a comment does not end: #} is missing");
    const bool has_sign = close > at_ && (text_[close - 1] == '-' || text_[close - 1] == '+');
    advance_to(end_of_block(has_sign ? close - 1 : close, "#}"));
  }

  /// "{% raw %}" to "{% endraw %}", whose text is taken as it is.
  bool raw(char begin_sign) {
    std::size_t at = end_of_space(at_ + (begin_sign == '\0' ? 2 : 3));
    if (!text_.substr(at).starts_with("raw")) return false;
    at = end_of_space(at + 3);
    const std::string_view rest = text_.substr(at);
    if (rest.starts_with("-%}")) {
      at = end_of_space(at + 3);
    } else if (rest.starts_with("%}")) {
      at += 2;
    } else {
      return false;
    }
    advance_to(at);
    if (at >= text_.size()) return true;  // as of a comment
    for (std::size_t tag = text_.find("{%", at); tag != std::string_view::npos;
         tag = text_.find("{%", tag + 1)) {
      const char sign =
          tag + 2 < text_.size() && (text_[tag + 2] == '-' || text_[tag + 2] == '+') ? text_[tag + 2] : '\0';
      const std::size_t name = end_of_space(tag + (sign == '\0' ? 2 : 3));
      if (!text_.substr(name).starts_with("endraw")) continue;
      const std::size_t end = end_of_block(end_of_space(name + 6), "%}");
      if (end == std::string_view::npos) continue;
      add_data(stripped(text_.substr(at, tag - at), sign, false));
      advance_to(end);
      return true;
    }
    refuse("a raw block does not end: {% endraw %} is missing");
  }

  void expression_token() {
    const Character c = character_at(text_, at_);
    if (is_python_space(c.code_point)) {
      advance_to(end_of_space(at_));
    } else if (c.code_point >= '0' && c.code_point <= '9') {
      number();
    } else if (is_name_start(c.code_point)) {
      name();
    } else if (c.code_point == '"' || c.code_point == '\'') {
      string();
    } else {
      punctuation();
    }
  }

  void name() {
    std::size_t end = at_;
    while (end < text_.size()) {
      const Character c = character_at(text_, end);
      if (!is_name_part(c.code_point)) break;
      end += c.length;
    }
    add(TokenKind::kName, std::string(text_.substr(at_, end - at_)));
    advance_to(end);
  }

  void string() {
    const char quote = peek();
    std::size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) refuse("a string does not end: its quote is missing");
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    add(TokenKind::kString, StringReader(inside, line_).run());
    advance_to(end + 1);
  }

  /// Behind digits of a number (with "_" between them) from byte `at`; `at` where there are none.
  template <typename IsDigit>
  [[nodiscard]] std::size_t end_of_digits(std::size_t at, const IsDigit& is_digit) const {
    if (at >= text_.size() || !is_digit(text_[at])) return at;
    while (at < text_.size() &&
           (is_digit(text_[at]) || (text_[at] == '_' && at + 1 < text_.size() && is_digit(text_[at + 1]))))
      ++at;
    return at;
  }

  void number() {
    const auto is_decimal_digit = [](char c) { return c >= '0' && c <= '9'; };
    const std::size_t whole = end_of_digits(at_, is_decimal_digit);
    std::size_t end = whole;
    const bool follows_dot = at_ > 0 && text_[at_ - 1] == '.';
    if (!follows_dot) {
      if (end < text_.size() && text_[end] == '.') {
        const std::size_t fraction = end_of_digits(end + 1, is_decimal_digit);
        if (fraction > end + 1) end = fraction;
      }
      if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
        std::size_t exponent = end + 1;
        if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
        const std::size_t behind = end_of_digits(exponent, is_decimal_digit);
        if (behind > exponent) end = behind;
      }
    }
    if (end > whole) {
      std::string digits(text_.substr(at_, end - at_));
      std::erase(digits, '_');
      add(TokenKind::kFloat, "").real = std::strtod(digits.c_str(), nullptr);
      advance_to(end);
      return;
    }
    integer();
  }

  void integer() {
    int base = 10;
    std::size_t begin = at_;
    const char second = peek(1);
    const auto digit_below = [&](char c) { return static_cast<int>(hexadecimal_digit(c)) < base; };
    if (peek() == '0') {
      base = second == 'x' || second == 'X'   ? 16
             : second == 'o' || second == 'O' ? 8
             : second == 'b' || second == 'B' ? 2
                                              : 10;
      if (base != 10) begin += peek(2) == '_' ? 3 : 2;
      if (base != 10 && end_of_digits(begin, digit_below) == begin) base = 10;
      if (base == 10) begin = at_;
    }
    // A number does not begin with 0, unless it is 0.
    std::size_t end = base == 10 && peek() == '0' ? end_of_digits(begin, [](char c) { return c == '0'; })
                                                  : end_of_digits(begin, digit_below);
    std::string digits(text_.substr(begin, end - begin));
    std::erase(digits, '_');
    std::int64_t value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (result.ec != std::errc()) refuse(fmt::format("the number {} is beyond 64 bits", in_quotes(digits)));
    add(TokenKind::kInteger, std::move(digits)).integer = value;
    advance_to(end);
  }

  void punctuation() {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto* found =
        std::ranges::find_if(kOperators, [&](std::string_view name) { return follows(name); });
    if (found == kOperators.end())
      refuse(fmt::format("the character {} is not expected here",
                         in_quotes(text_.substr(at_, character_at(text_, at_).length))));
    const char c = (*found)[0];
    if (c == '(') open_ += ')';
    if (c == '[') open_ += ']';
    if (c == '{') open_ += '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open_.empty()) refuse(fmt::format("'{}' closes nothing", c));
      if (open_.back() != c) refuse(fmt::format("'{}' is here, where '{}' is expected", c, open_.back()));
      open_.pop_back();
    }
    add(TokenKind::kOperator, std::string(*found));
    advance_to(at_ + found->size());
  }

  const std::string source_;
  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // whether what was read last ended a line
  std::string open_;           // the brackets that close what is open
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace fathom::jinja
