#include "posttrain/answer_number.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <utility>

namespace fathom {
namespace {

constexpr std::size_t kExactDigits = 19;  // of numerator and of denominator: they fit 64 bits

bool is_digit_char(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/// The spellings of LaTeX and Unicode that stand inside numbers as plain characters.
std::string plain_spelling(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kSpellings = {
      {{"{,}", ","},
       {"\\!", ""},
       {"\\,", ""},
       {"\\$", "$"},
       {"\\%", "%"},
       {"\xE2\x88\x92", "-"},
       {"\\ ", " "}}};
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    bool is_spelling = false;
    for (const auto& [from, to] : kSpellings)
      if (text.substr(at).starts_with(from)) {
        plain += to;
        at += from.size();
        is_spelling = true;
        break;
      }
    if (!is_spelling) plain += text[at++];
  }
  return plain;
}

std::string without_leading_zeros(std::string digits) {
  digits.erase(0, digits.find_first_not_of('0'));
  return digits.empty() ? "0" : digits;
}

std::string signed_value(bool is_negative, const std::string& magnitude) {
  return is_negative && magnitude != "0" ? "-" + magnitude : magnitude;
}

/// @param digits, denominator  without leading zeros; the denominator is not 0
std::string fraction_value(bool is_negative, const std::string& digits, const std::string& denominator) {
  if (digits.size() > kExactDigits || denominator.size() > kExactDigits) {
    return signed_value(is_negative, denominator == "1" ? digits : digits + "/" + denominator);
  }
  const std::uint64_t numerator = std::stoull(digits);
  const std::uint64_t below = std::stoull(denominator);
  const std::uint64_t common = std::gcd(numerator, below);
  std::string text = std::to_string(numerator / common);
  if (below != common) text += "/" + std::to_string(below / common);
  return signed_value(is_negative, text);
}

/// @param whole, fraction  digits before and behind the point; either may be empty
std::string decimal_value(bool is_negative, std::string whole, std::string fraction) {
  fraction.erase(fraction.find_last_not_of('0') + 1);
  const std::string digits = without_leading_zeros(whole + fraction);
  if (digits.size() <= kExactDigits && fraction.size() < kExactDigits)  // 10^18 has 19
    return fraction_value(is_negative, digits, "1" + std::string(fraction.size(), '0'));
  whole = without_leading_zeros(std::move(whole));
  return signed_value(is_negative, fraction.empty() ? whole : whole + "." + fraction);
}

class NumberScanner {
 public:
  explicit NumberScanner(std::string_view text) : text_(text) {}

  std::vector<AnswerNumber> all() {
    std::vector<AnswerNumber> found;
    while (at_ < text_.size()) {
      const std::size_t begin = at_;
      if (std::optional<AnswerNumber> number = text_[at_] == '\\' ? latex_fraction() : decimal()) {
        take_percent(*number);
        found.push_back(*std::move(number));
      } else {
        at_ = begin + 1;
        // The rest of a run of digits that is no number of its own.
        while (is_digit_char(text_[begin]) && is_digit_char(peek())) ++at_;
      }
    }
    return found;
  }

 private:
  [[nodiscard]] char peek(std::size_t offset = 0) const {
    return at_ + offset < text_.size() ? text_[at_ + offset] : '\0';
  }
  [[nodiscard]] char before(std::size_t place) const { return place > 0 ? text_[place - 1] : ' '; }

  std::string take_digits() {
    const std::size_t begin = at_;
    while (is_digit_char(peek())) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  void skip_spaces() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }

  /// Whether the number that begins at a place has a minus, with a $ between them or not.
  [[nodiscard]] bool has_minus(std::size_t place) const {
    if (before(place) == '$') --place;
    if (before(place) != '-') return false;
    const char left = before(place - 1);
    return !is_digit_char(left) && !is_letter_char(left) && left != ')' && left != ']' && left != '}' &&
           left != '%' && left != '.';
  }

  /// Digits with commas between groups of three, or without. A group that more digits follow is none.
  std::string whole_part() {
    std::string digits = take_digits();
    if (digits.size() > 3) return digits;
    const auto is_group = [&] {
      return peek() == ',' && is_digit_char(peek(1)) && is_digit_char(peek(2)) && is_digit_char(peek(3));
    };
    while (is_group() && !is_digit_char(peek(4))) {
      digits += text_.substr(at_ + 1, 3);
      at_ += 4;
    }
    return digits;
  }

  std::optional<AnswerNumber> decimal() {
    const std::size_t begin = at_;
    const bool begins_with_point = peek() == '.' && is_digit_char(peek(1));
    if (!begins_with_point && !is_digit_char(peek())) return std::nullopt;
    if (is_letter_char(before(begin)) || (begins_with_point && is_digit_char(before(begin))))
      return std::nullopt;
    const bool is_negative = has_minus(begin);
    const std::string whole = whole_part();
    if (peek() == '.' && is_digit_char(peek(1))) {
      ++at_;
      return AnswerNumber{decimal_value(is_negative, whole, take_digits())};
    }
    if (peek() == '/' && is_digit_char(peek(1))) {
      const std::size_t slash = at_++;
      const std::string denominator = without_leading_zeros(take_digits());
      if (denominator != "0")
        return AnswerNumber{fraction_value(is_negative, without_leading_zeros(whole), denominator)};
      at_ = slash;
    }
    return AnswerNumber{decimal_value(is_negative, whole, "")};
  }

  /// \frac{1}{2}, \dfrac{-1}{2}, \frac12.
  std::optional<AnswerNumber> latex_fraction() {
    const std::size_t begin = at_++;
    if (peek() == 'd' || peek() == 't') ++at_;
    if (!text_.substr(at_).starts_with("frac")) return std::nullopt;
    at_ += 4;
    bool is_negative = has_minus(begin);
    if (is_digit_char(peek()) && is_digit_char(peek(1)) && peek(1) != '0') {
      at_ += 2;
      return AnswerNumber{
          fraction_value(is_negative, std::string(1, text_[at_ - 2]), std::string(1, text_[at_ - 1]))};
    }
    const std::optional<std::string> numerator = in_braces(&is_negative);
    const std::optional<std::string> denominator = numerator ? in_braces(nullptr) : std::nullopt;
    if (!denominator || *denominator == "0") return std::nullopt;
    return AnswerNumber{fraction_value(is_negative, *numerator, *denominator)};
  }
  /// @param flips  changed where there is a minus; null: none may be there
  std::optional<std::string> in_braces(bool* flips) {
    skip_spaces();
    if (peek() != '{') return std::nullopt;
    ++at_;
    skip_spaces();
    if (flips != nullptr && peek() == '-') {
      ++at_;
      *flips = !*flips;
    }
    const std::string digits = take_digits();
    skip_spaces();
    if (digits.empty() || peek() != '}') return std::nullopt;
    ++at_;
    return without_leading_zeros(digits);
  }

  void take_percent(AnswerNumber& number) {
    const std::size_t space = peek() == ' ' ? 1 : 0;
    const std::string_view rest = text_.substr(std::min(at_ + space, text_.size()));
    if (!rest.starts_with('%') && !rest.starts_with("percent")) return;
    number.is_percent = true;
    at_ += space + 1;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// A hundredth of a value of `AnswerNumber`; one of too many digits stays as it is.
std::string hundredth(const std::string& value) {
  const bool is_negative = value.starts_with('-');
  const std::string magnitude = value.substr(is_negative ? 1 : 0);
  if (magnitude.find('.') != std::string::npos) return value;
  const std::size_t slash = magnitude.find('/');
  const std::string denominator = slash == std::string::npos ? "1" : magnitude.substr(slash + 1);
  return fraction_value(is_negative, magnitude.substr(0, slash), denominator + "00");
}

}  // namespace

std::vector<AnswerNumber> find_numbers(std::string_view text) {
  return NumberScanner(plain_spelling(text)).all();
}

bool same_number(const AnswerNumber& a, const AnswerNumber& b) {
  if (a.value == b.value) return true;
  if (a.is_percent == b.is_percent) return false;
  return a.is_percent ? hundredth(a.value) == b.value : hundredth(b.value) == a.value;
}

}  // namespace fathom
