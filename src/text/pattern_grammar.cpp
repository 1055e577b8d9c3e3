#include "text/pattern_grammar.h"

#include <utility>

#include "base/error.h"
#include "text/code_points.h"
#include "text/hexadecimal.h"
#include "text/in_quotes.h"
#include "text/utf8.h"

namespace fathom {
namespace {

using CharRanges = std::vector<CodePointRange>;
using Parts = std::vector<GrammarExpr>;

constexpr std::size_t kLongestPattern = 16U << 10U;
constexpr int kPatternNesting = 50;
constexpr std::int64_t kPatternRepetitions = 10'000;

const CharRanges kDigitChars = {{'0', '9'}};
const CharRanges kWordChars = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CharRanges kSpaceChars = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                                {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CharRanges kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

CharRanges all_but(const CharRanges& ranges) {
  return expr::char_class_except(ranges).ranges;
}

class PatternParser {
 public:
  PatternParser(std::string_view pattern, const std::string& where,
                const std::function<GrammarExpr(const CharRanges&)>& chars)
      : pattern_(pattern), where_(where), chars_(chars) {}

  GrammarExpr run() {
    require(pattern_.size() <= kLongestPattern && is_valid_utf8(pattern_),
            "{}: the pattern is longer than {} bytes, or not UTF-8", where_, kLongestPattern);
    GrammarExpr all = alternatives(0);
    if (!done()) refuse("')' without '('");
    return all;
  }

 private:
  [[nodiscard]] bool done() const { return at_ >= pattern_.size(); }
  [[nodiscard]] char peek() const { return done() ? '\0' : pattern_[at_]; }
  [[nodiscard]] bool follows(std::string_view what) const { return pattern_.substr(at_).starts_with(what); }
  bool skip(std::string_view what) {
    if (!follows(what)) return false;
    at_ += what.size();
    return true;
  }
  [[noreturn]] void refuse(std::string_view what) const {
    fail("{}: the pattern {} cannot be enforced: {} at byte {}", where_, in_quotes(pattern_), what, at_);
  }

  /// Those of the whole pattern may have anchors at their ends; without, anything may stand there.
  GrammarExpr alternatives(int depth) {
    if (depth > kPatternNesting) refuse("groups nested too deeply");
    Parts parts;
    do {
      Parts items;
      const GrammarExpr anything = expr::repeat(chars_({{0, kMaxCodePoint}}), 0);
      const bool is_whole = depth == 0;
      if (is_whole && !skip("^")) items.push_back(anything);
      bool is_anchored = !is_whole;
      while (!done() && peek() != '|' && peek() != ')' && !(is_whole && is_anchored)) {
        is_anchored = is_whole && (follows("$|") || pattern_.substr(at_) == "$");
        if (is_anchored) {
          ++at_;
        } else {
          items.push_back(repeated(item(depth)));
          is_anchored = !is_whole;
        }
      }
      if (!is_anchored) items.push_back(anything);
      parts.push_back(expr::sequence(std::move(items)));
    } while (skip("|"));
    return expr::choice(std::move(parts));
  }

  GrammarExpr item(int depth) {
    if (skip("(")) {
      if (skip("?:") || !follows("?")) return group(depth);
      if (follows("?<") && !follows("?<=") && !follows("?<!")) {
        while (!done() && peek() != '>') ++at_;
        if (skip(">")) return group(depth);
      }
      refuse("look-around");
    }
    if (skip("[")) return chars_(bracketed());
    if (skip(".")) return chars_(all_but(kLineEnds));
    if (follows("^") || follows("$")) refuse("an anchor in the middle");
    if (follows("*") || follows("+") || follows("?") || follows("{")) refuse("a repetition of nothing");
    if (skip("\\")) {
      if (follows("b") || follows("B")) refuse("a word boundary");
      return chars_(escaped());
    }
    const std::uint32_t c = character();
    return chars_({{c, c}});
  }

  GrammarExpr group(int depth) {
    GrammarExpr inside = alternatives(depth + 1);
    if (!skip(")")) refuse("')' is missing");
    return inside;
  }

  GrammarExpr repeated(GrammarExpr part) {
    std::int64_t least = 0;
    std::int64_t most = GrammarExpr::kEndless;
    if (skip("*")) {
    } else if (skip("+")) {
      least = 1;
    } else if (skip("?")) {
      most = 1;
    } else if (skip("{")) {
      least = most = number();
      if (skip(",")) most = peek() == '}' ? GrammarExpr::kEndless : number();
      if (!skip("}")) refuse("'}' is missing");
      if (most != GrammarExpr::kEndless && most < least) refuse("repetitions that end before they begin");
    } else {
      return part;
    }
    skip("?");  // how much it takes first makes no difference to what matches
    return expr::repeat(std::move(part), least, most);
  }

  std::int64_t number() {
    if (peek() < '0' || peek() > '9') refuse("a number of repetitions is expected");
    std::int64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = value * 10 + (peek() - '0');
      if (value > kPatternRepetitions) refuse("too many repetitions");
    }
    return value;
  }

  std::uint32_t character() {
    const std::uint32_t c = first_code_point(pattern_.substr(at_));
    at_ += next_utf8_unit(pattern_.substr(at_)).length;
    return c;
  }

  CharRanges bracketed() {
    const bool is_negated = skip("^");
    CharRanges ranges;
    while (!follows("]")) {
      if (done()) refuse("']' is missing");
      const CharRanges first = class_member();
      if (follows("-") && !follows("-]")) {
        ++at_;
        if (done()) refuse("']' is missing");
        const CharRanges last = class_member();
        if (first.size() != 1 || first[0].first != first[0].last || last.size() != 1 ||
            last[0].first != last[0].last || last[0].first < first[0].first)
          refuse("a range of characters that is none");
        ranges.push_back({first[0].first, last[0].last});
      } else {
        ranges.insert(ranges.end(), first.begin(), first.end());
      }
    }
    ++at_;
    return is_negated ? all_but(ranges) : ranges;
  }

  CharRanges class_member() {
    if (skip("\\")) {
      if (skip("b")) return {{'\b', '\b'}};
      return escaped();
    }
    const std::uint32_t c = character();
    return {{c, c}};
  }

  /// What stands after a backslash.
  CharRanges escaped() {
    if (done()) refuse("a backslash at the end");
    const std::uint32_t c = character();
    const auto one = [](std::uint32_t code_point) { return CharRanges{{code_point, code_point}}; };
    switch (c) {
      case 'd':
        return kDigitChars;
      case 'D':
        return all_but(kDigitChars);
      case 'w':
        return kWordChars;
      case 'W':
        return all_but(kWordChars);
      case 's':
        return kSpaceChars;
      case 'S':
        return all_but(kSpaceChars);
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 't':
        return one('\t');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case 'x':
        return one(hexadecimal(2));
      case 'u':
        return one(hexadecimal(4));
      default:
        break;
    }
    const bool is_letter_or_digit =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_letter_or_digit) refuse("this escape");
    return one(c);
  }

  std::uint32_t hexadecimal(int digits) {
    std::uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const std::uint32_t digit = hexadecimal_digit(peek());
      if (digit > 15) refuse("a hexadecimal digit is expected");
      ++at_;
      value = value * 16 + digit;
    }
    if (value >= 0xD800 && value <= 0xDFFF) refuse("half a surrogate pair");
    return value;
  }

  std::string_view pattern_;
  const std::string& where_;
  const std::function<GrammarExpr(const CharRanges&)>& chars_;
  std::size_t at_ = 0;
};

}  // namespace

GrammarExpr pattern_grammar(std::string_view pattern, const std::string& where,
                            const std::function<GrammarExpr(const std::vector<CodePointRange>&)>& chars) {
  return PatternParser(pattern, where, chars).run();
}

}  // namespace fathom
