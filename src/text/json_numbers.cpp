// Ranges of numbers as grammars: one choice for each length and each common beginning of the bounds' digits.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "text/json_text.h"

namespace fathom {
namespace {

using Parts = std::vector<GrammarExpr>;

GrammarExpr digit(char first, char last) {
  return first > last
             ? expr::never()
             : expr::char_class({{static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last)}});
}

GrammarExpr any_digits(std::size_t count) {
  return expr::repeat(digit('0', '9'), static_cast<std::int64_t>(count), static_cast<std::int64_t>(count));
}

/// Numbers of as many digits as both bounds have.
GrammarExpr digits_between(const std::string& least, const std::string& most) {
  if (least.empty()) return expr::empty_text();
  const std::string low = least.substr(1);
  const std::string high = most.substr(1);
  if (least[0] == most[0]) return expr::sequence({digit(least[0], least[0]), digits_between(low, high)});
  const std::string nines(high.size(), '9');
  const std::string zeros(low.size(), '0');
  return expr::choice({
      expr::sequence({digit(least[0], least[0]), digits_between(low, nines)}),
      expr::sequence(
          {digit(static_cast<char>(least[0] + 1), static_cast<char>(most[0] - 1)), any_digits(low.size())}),
      expr::sequence({digit(most[0], most[0]), digits_between(zeros, high)}),
  });
}

/// The text of a number's distance from 0, which for the smallest one is no std::int64_t.
std::string magnitude(std::int64_t value) {
  const std::string text = std::to_string(value);
  return text.starts_with('-') ? text.substr(1) : text;
}

bool is_smaller(const std::string& a, const std::string& b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

/// Whole numbers without sign. @param most  empty: no end
GrammarExpr naturals(const std::string& least, const std::string& most) {
  if (!most.empty() && is_smaller(most, least)) return expr::never();
  const auto longest = [](std::size_t length) { return std::string(length, '9'); };
  const auto shortest = [](std::size_t length) {
    return length == 1 ? std::string("0") : "1" + std::string(length - 1, '0');
  };
  Parts parts;
  const std::size_t last = most.empty() ? least.size() : most.size();
  for (std::size_t length = least.size(); length <= last; ++length)
    parts.push_back(digits_between(length == least.size() ? least : shortest(length),
                                   !most.empty() && length == most.size() ? most : longest(length)));
  if (most.empty())
    parts.push_back(expr::sequence(
        {digit('1', '9'), expr::repeat(digit('0', '9'), static_cast<std::int64_t>(least.size()))}));
  return expr::choice(std::move(parts));
}

std::string next_natural(const std::string& value) {
  return std::to_string(std::stoull(value) + 1);
}

std::string previous_natural(const std::string& value) {
  return std::to_string(std::stoull(value) - 1);
}

/// A bound of numbers without sign.
struct Limit {
  std::string value;
  bool is_exclusive = false;
};

GrammarExpr fraction_of(GrammarExpr digits) {
  return expr::sequence({expr::literal("."), std::move(digits)});
}

/// Numbers without sign or exponent. @param most  without value: no end
GrammarExpr decimals(const Limit& least, const Limit& most) {
  const GrammarExpr zeros = expr::optional(fraction_of(expr::repeat(digit('0', '0'), 1)));
  const GrammarExpr any = expr::optional(fraction_of(expr::repeat(digit('0', '9'), 1)));
  const GrammarExpr more_than_zero = fraction_of(
      expr::sequence({expr::repeat(digit('0', '9'), 0), digit('1', '9'), expr::repeat(digit('0', '9'), 0)}));
  Parts parts;
  const auto add = [&](GrammarExpr whole, const GrammarExpr& fraction) {
    parts.push_back(expr::sequence({std::move(whole), fraction}));
  };
  const bool is_one_value = least.value == most.value;
  if (most.value.empty() || is_smaller(least.value, most.value)) {
    if (!least.is_exclusive) add(naturals(least.value, least.value), zeros);
    add(naturals(least.value, least.value), more_than_zero);
    const std::string after = next_natural(least.value);
    if (most.value.empty() || is_smaller(after, most.value))
      add(naturals(after, most.value.empty() ? "" : previous_natural(most.value)), any);
    if (!most.value.empty() && !most.is_exclusive) add(naturals(most.value, most.value), zeros);
  } else if (is_one_value && !least.is_exclusive && !most.is_exclusive) {
    add(naturals(least.value, least.value), zeros);
  }
  return expr::choice(std::move(parts));
}

GrammarExpr negative(GrammarExpr number) {
  return expr::sequence({expr::literal("-"), std::move(number)});
}

}  // namespace

GrammarExpr json_integer(const std::int64_t* least, const std::int64_t* most) {
  Parts parts;
  // "-0" is a way to write 0 that nobody needs.
  if (least == nullptr || *least < 0) {
    const std::string nearest = most != nullptr && *most < 0 ? magnitude(*most) : "1";
    parts.push_back(negative(naturals(nearest, least != nullptr ? magnitude(*least) : "")));
  }
  if (most == nullptr || *most >= 0)
    parts.push_back(naturals(least != nullptr && *least > 0 ? magnitude(*least) : "0",
                             most != nullptr ? magnitude(*most) : ""));
  return expr::choice(std::move(parts));
}

GrammarExpr json_number(const JsonBound* least, const JsonBound* most) {
  if (least == nullptr && most == nullptr) {
    const GrammarExpr exponent = expr::sequence({expr::char_class({{'e', 'e'}, {'E', 'E'}}),
                                                 expr::optional(expr::char_class({{'+', '+'}, {'-', '-'}})),
                                                 expr::repeat(digit('0', '9'), 1)});
    return expr::sequence({expr::optional(expr::literal("-")), naturals("0", ""),
                           expr::optional(fraction_of(expr::repeat(digit('0', '9'), 1))),
                           expr::optional(exponent)});
  }
  const auto limit = [](const JsonBound* bound) {
    return bound == nullptr ? Limit{} : Limit{magnitude(bound->value), bound->is_exclusive};
  };
  Parts parts;
  if (least == nullptr || least->value < 0) {
    const bool is_all_negative = most != nullptr && most->value <= 0;
    parts.push_back(negative(decimals(is_all_negative ? limit(most) : Limit{"0", true}, limit(least))));
  }
  if (most == nullptr || most->value >= 0) {
    const bool is_all_positive = least != nullptr && least->value >= 0;
    parts.push_back(decimals(is_all_positive ? limit(least) : Limit{"0", false}, limit(most)));
  }
  return expr::choice(std::move(parts));
}

}  // namespace fathom
