#include "posttrain/countdown_expression.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

constexpr std::size_t kLongestExpression = 1000;
constexpr int kDeepestNesting = 50;

struct ExactFraction {
  std::int64_t above = 0;
  std::int64_t below = 1;
};

struct ExpressionFault {
  std::string what;
};

std::int64_t exact_product(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) throw ExpressionFault{"its numbers become too large"};
  return product;
}

std::int64_t exact_sum(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) throw ExpressionFault{"its numbers become too large"};
  return sum;
}

ExactFraction lowest_terms(std::int64_t above, std::int64_t below) {
  if (below < 0) {
    above = exact_product(above, -1);
    below = exact_product(below, -1);
  }
  if (above == INT64_MIN) throw ExpressionFault{"its numbers become too large"};  // has no gcd in 64 bits
  const std::int64_t common = std::gcd(above, below);
  return {above / common, below / common};
}

std::string plain_operators(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kSpellings = {
      {{"\xC3\x97", "*"},
       {"\xC3\xB7", "/"},
       {"\xE2\x88\x92", "-"},
       {"\\times", "*"},
       {"\\cdot", "*"},
       {"\\div", "/"},
       {"\\left", ""},
       {"\\right", ""},
       {"\\,", ""}}};
  std::string plain;
  for (std::size_t at = 0; at < text.size();) {
    const auto* spelling = std::ranges::find_if(
        kSpellings, [&](const auto& one) { return text.substr(at).starts_with(one.first); });
    if (spelling == kSpellings.end()) {
      plain += text[at++];
    } else {
      plain += spelling->second;
      at += spelling->first.size();
    }
  }
  return plain;
}

class ExpressionReader {
 public:
  explicit ExpressionReader(std::string_view text) : text_(text) {}

  ExactFraction read() {
    const ExactFraction value = sum(0);
    skip_spaces();
    if (at_ < text_.size()) fault_here();
    return value;
  }
  [[nodiscard]] std::vector<std::int64_t> take_numbers() { return std::move(numbers_); }

 private:
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  /// The next character; 0 at the end.
  char next() {
    skip_spaces();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  [[noreturn]] void fault_here() {
    skip_spaces();
    if (at_ == text_.size()) throw ExpressionFault{"it ends too early"};
    throw ExpressionFault{fmt::format("\"{}\" is not expected there", printable(text_.substr(at_, 12)))};
  }

  ExactFraction sum(int depth) {
    if (depth > kDeepestNesting) throw ExpressionFault{"it nests too deep"};
    ExactFraction value = product(depth);
    for (char sign = next(); sign == '+' || sign == '-'; sign = next()) {
      ++at_;
      const ExactFraction right = product(depth);
      const std::int64_t added = exact_product(exact_product(right.above, value.below), sign == '-' ? -1 : 1);
      value = lowest_terms(exact_sum(exact_product(value.above, right.below), added),
                           exact_product(value.below, right.below));
    }
    return value;
  }
  ExactFraction product(int depth) {
    ExactFraction value = factor(depth);
    for (char sign = next(); sign == '*' || sign == '/'; sign = next()) {
      ++at_;
      ExactFraction right = factor(depth);
      if (sign == '/') {
        if (right.above == 0) throw ExpressionFault{"it divides by zero"};
        std::swap(right.above, right.below);
      }
      value = lowest_terms(exact_product(value.above, right.above), exact_product(value.below, right.below));
    }
    return value;
  }
  ExactFraction factor(int depth) {
    if (next() == '(') {
      ++at_;
      const ExactFraction value = sum(depth + 1);
      if (next() != ')') fault_here();
      ++at_;
      return value;
    }
    const std::size_t begin = at_;
    std::int64_t value = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9')
      value = exact_sum(exact_product(value, 10), text_[at_++] - '0');
    if (at_ == begin) fault_here();
    numbers_.push_back(value);
    return {value, 1};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::int64_t> numbers_;
};

}  // namespace

CountdownResult evaluate_countdown(std::string_view expression) {
  CountdownResult result;
  if (expression.size() > kLongestExpression) {
    result.fault = "it is too long";
    return result;
  }
  const std::string plain = plain_operators(expression);
  ExpressionReader reader(plain);
  try {
    const ExactFraction value = reader.read();
    result.is_valid = true;
    result.numerator = value.above;
    result.denominator = value.below;
    result.numbers = reader.take_numbers();
  } catch (const ExpressionFault& fault) {
    result.fault = fault.what;
  }
  return result;
}

std::string countdown_fault(std::string_view expression, const std::vector<std::int64_t>& given,
                            std::int64_t target) {
  const CountdownResult result = evaluate_countdown(expression);
  if (!result.is_valid) return "the expression cannot be read: " + result.fault;
  std::vector<std::int64_t> left = given;
  for (const std::int64_t number : result.numbers) {
    const auto place = std::ranges::find(left, number);
    if (place == left.end())
      return std::ranges::find(given, number) == given.end()
                 ? fmt::format("{} is not one of the numbers", number)
                 : fmt::format("{} is used too often", number);
    left.erase(place);
  }
  if (result.denominator != 1)
    return fmt::format("it comes to {}/{}, not {}", result.numerator, result.denominator, target);
  if (result.numerator != target) return fmt::format("it comes to {}, not {}", result.numerator, target);
  return {};
}

}  // namespace fathom
