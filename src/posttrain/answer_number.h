#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// A number that an answer gives.
struct AnswerNumber {
  /// One spelling for each value: "42", "-1/2" (lowest terms; also for 0.5). Values of more than 19 digits
  /// keep their digits, without zeros that say nothing.
  std::string value;
  bool is_percent = false;

  bool operator==(const AnswerNumber&) const = default;
};

/// All numbers of a text, in order: 1,000 and 1{,}000, 3.50, .5, 1/2, \frac{1}{2}, -$5, 50 %. A minus that
/// subtracts (behind a digit, a letter or a bracket) is no sign; digits behind a letter (x2) are no number; a
/// fraction with denominator 0 is two numbers. Units and currencies are not looked at.
std::vector<AnswerNumber> find_numbers(std::string_view text);

/// Whether two numbers are the same: exactly, as rationals. Where one alone is a percentage, it may be meant
/// either way: 50 % is 50 and 1/2.
bool same_number(const AnswerNumber& a, const AnswerNumber& b);

}  // namespace fathom
