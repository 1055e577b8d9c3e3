#include "text/gbnf.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/code_points.h"
#include "text/hexadecimal.h"
#include "text/utf8.h"

namespace fathom {
namespace {

constexpr std::size_t kMaxGrammarBytes = 1U << 20U;
constexpr std::size_t kMaxRules = 10'000;
constexpr int kGbnfNesting = 100;
constexpr int kMaxSuffixes = 8;  // "a?*{2}" has 3
constexpr std::int64_t kGbnfRepetitions = 10'000;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class GbnfParser {
 public:
  GbnfParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Grammar run() {
    require(text_.size() <= kMaxGrammarBytes, "{}: the grammar is longer than {} bytes", where_,
            kMaxGrammarBytes);
    find_rule("root", 0);  // first, wherever it stands
    skip_space();
    while (!done()) rule();
    for (std::size_t i = 0; i < grammar_.rules.size(); ++i) {
      if (is_defined_[i]) continue;
      if (i == 0) fail("{}: no rule is called root: it says what texts the grammar stands for", where_);
      refuse(fmt::format("no rule is called {}", grammar_.rules[i].name), first_use_[i]);
    }
    return std::move(grammar_);
  }

 private:
  [[nodiscard]] bool done() const { return at_ >= text_.size(); }
  [[nodiscard]] char peek() const { return done() ? '\0' : text_[at_]; }
  [[nodiscard]] bool follows(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  [[nodiscard]] std::string place(std::size_t at) const {
    std::size_t line = 1;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < at; ++i) {
      if (text_[i] != '\n') continue;
      ++line;
      begin = i + 1;
    }
    return fmt::format("{}:{}:{}", where_, line, at - begin + 1);
  }
  [[noreturn]] void refuse(const std::string& what, std::size_t at) const { fail("{}: {}", place(at), what); }
  [[noreturn]] void refuse(const std::string& what) const { refuse(what, at_); }

  void skip_space() {
    while (!done()) {
      const char c = peek();
      if (c == '#') {
        while (!done() && peek() != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::size_t find_rule(const std::string& name, std::size_t at) {
    const auto [found, is_new] = index_.try_emplace(name, grammar_.rules.size());
    if (!is_new) return found->second;
    if (index_.size() > kMaxRules) refuse(fmt::format("more than {} rules", kMaxRules), at);
    grammar_.rules.push_back({name, {}, {}});
    is_defined_.push_back(false);
    first_use_.push_back(at);
    return found->second;
  }

  std::string name() {
    const std::size_t begin = at_;
    while (!done() && is_name_char(peek())) ++at_;
    if (at_ == begin) refuse("a rule's name is expected here");
    return std::string(text_.substr(begin, at_ - begin));
  }

  /// Whether a rule begins here: a name and "::=".
  [[nodiscard]] bool at_rule() {
    const std::size_t begin = at_;
    while (!done() && is_name_char(peek())) ++at_;
    const bool has_name = at_ > begin;
    skip_space();
    const bool is_rule = has_name && follows("::=");
    at_ = begin;
    return is_rule;
  }

  void rule() {
    const std::size_t begin = at_;
    const std::size_t index = find_rule(name(), begin);
    if (is_defined_[index])
      refuse(fmt::format("the rule {} is given twice", grammar_.rules[index].name), begin);
    skip_space();
    if (!follows("::=")) refuse("\"::=\" is expected after a rule's name");
    at_ += 3;
    is_defined_[index] = true;
    GrammarExpr body = alternatives(0);
    if (!done() && !at_rule())
      refuse(fmt::format("'{}' is not expected here", printable(text_.substr(at_, 1))));
    grammar_.rules[index].body = std::move(body);
    grammar_.rules[index].where = place(begin);
  }

  GrammarExpr alternatives(int depth) {
    if (depth > kGbnfNesting) refuse(fmt::format("groups nested deeper than {} levels", kGbnfNesting));
    std::vector<GrammarExpr> parts;
    parts.push_back(items(depth));
    while (peek() == '|' && !done()) {
      ++at_;
      parts.push_back(items(depth));
    }
    return expr::choice(std::move(parts));
  }

  GrammarExpr items(int depth) {
    std::vector<GrammarExpr> parts;
    while (true) {
      skip_space();
      const char c = peek();
      if (done() || c == '|' || c == ')' || (is_name_char(c) && at_rule())) break;
      parts.push_back(repeated(item(depth)));
    }
    return expr::sequence(std::move(parts));
  }

  GrammarExpr item(int depth) {
    const std::size_t begin = at_;
    const char c = peek();
    if (c == '"') return quoted();
    if (c == '[') return bracketed();
    if (c == '.') {
      ++at_;
      return expr::any_char();
    }
    if (c == '(') {
      ++at_;
      GrammarExpr group = alternatives(depth + 1);
      if (peek() != ')') refuse("')' is missing for this '('", begin);
      ++at_;
      return group;
    }
    if (is_name_char(c)) return expr::rule_ref(find_rule(name(), begin));
    refuse(fmt::format("'{}' is not expected here", printable(text_.substr(at_, 1))));
  }

  GrammarExpr repeated(GrammarExpr part) {
    for (int times = 0;; ++times) {
      skip_space();
      const char c = peek();
      if (c != '*' && c != '+' && c != '?' && c != '{') return part;
      if (times >= kMaxSuffixes) refuse(fmt::format("more than {} repetitions of one another", kMaxSuffixes));
      ++at_;
      if (c == '*') {
        part = expr::repeat(std::move(part), 0);
      } else if (c == '+') {
        part = expr::repeat(std::move(part), 1);
      } else if (c == '?') {
        part = expr::optional(std::move(part));
      } else {
        part = counted(std::move(part));
      }
    }
  }

  std::int64_t number() {
    if (peek() < '0' || peek() > '9') refuse("a number of repetitions is expected here");
    const std::size_t begin = at_;
    std::int64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = value * 10 + (peek() - '0');
      if (value > kGbnfRepetitions) refuse(fmt::format("more than {} repetitions", kGbnfRepetitions), begin);
    }
    return value;
  }

  /// "{2}", "{2,}", "{,3}" or "{2,3}", without the first brace.
  GrammarExpr counted(GrammarExpr part) {
    const std::size_t begin = at_ - 1;
    skip_space();
    const std::int64_t least = peek() == ',' ? 0 : number();
    std::int64_t most = least;
    skip_space();
    if (peek() == ',') {
      ++at_;
      skip_space();
      most = peek() == '}' ? GrammarExpr::kEndless : number();
      skip_space();
    }
    if (peek() != '}') refuse("'}' is missing for this '{'", begin);
    ++at_;
    if (most != GrammarExpr::kEndless && most < least)
      refuse(fmt::format("at least {} repetitions and at most {}", least, most), begin);
    return expr::repeat(std::move(part), least, most);
  }

  GrammarExpr quoted() {
    const std::size_t begin = at_++;
    std::string text;
    while (peek() != '"') {
      if (done() || peek() == '\n') refuse("this literal does not end: '\"' is missing", begin);
      append_code_point(character(), text);
    }
    ++at_;
    return expr::literal(text);
  }

  GrammarExpr bracketed() {
    const std::size_t begin = at_++;
    const bool is_negated = peek() == '^';
    if (is_negated) ++at_;
    std::vector<CodePointRange> ranges;
    while (peek() != ']') {
      if (done() || peek() == '\n') refuse("this class does not end: ']' is missing", begin);
      const std::size_t at = at_;
      const std::uint32_t first = character();
      std::uint32_t last = first;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        if (peek() == '\n') refuse("this class does not end: ']' is missing", begin);
        last = character();
      }
      if (last < first) refuse("a range of characters that ends before it begins", at);
      ranges.push_back({first, last});
    }
    ++at_;
    GrammarExpr part =
        is_negated ? expr::char_class_except(std::move(ranges)) : expr::char_class(std::move(ranges));
    if (part.is_never()) refuse("a class that holds no character", begin);
    return part;
  }

  /// One character, as it is or escaped.
  std::uint32_t character() {
    if (peek() == '\\') return escaped();
    const Utf8Unit unit = next_utf8_unit(text_.substr(at_));
    if (unit.kind != Utf8Unit::Kind::kCharacter) refuse("bytes that are not UTF-8");
    const std::uint32_t code_point = first_code_point(text_.substr(at_));
    at_ += unit.length;
    return code_point;
  }

  std::uint32_t escaped() {
    const std::size_t begin = at_++;
    const char c = peek();
    if (done()) refuse("an escape is cut off", begin);
    ++at_;
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<unsigned char>(c);
      case 'x':
        return hexadecimal(2, begin);
      case 'u':
        return hexadecimal(4, begin);
      case 'U':
        return hexadecimal(8, begin);
      default:
        refuse(fmt::format("the escape \\{} is not known", printable(std::string(1, c))), begin);
    }
  }

  std::uint32_t hexadecimal(int digits, std::size_t begin) {
    std::uint32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const std::uint32_t digit = hexadecimal_digit(peek());
      if (digit > 15) refuse(fmt::format("this escape needs {} hexadecimal digits", digits), begin);
      value = value * 16 + digit;
    }
    if (value > kMaxCodePoint || (value >= 0xD800 && value <= 0xDFFF))
      refuse("an escape of what is no character", begin);
    return value;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
  Grammar grammar_;
  std::map<std::string, std::size_t> index_;
  std::vector<bool> is_defined_;        // by rule
  std::vector<std::size_t> first_use_;  // by rule
};

}  // namespace

Grammar parse_gbnf(std::string_view text, const std::string& where) {
  return GbnfParser(text, where).run();
}

}  // namespace fathom
