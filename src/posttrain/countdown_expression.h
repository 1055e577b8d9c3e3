#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// What an arithmetic expression that somebody wrote comes to.
struct CountdownResult {
  bool is_valid = false;
  std::string fault;           // why not
  std::int64_t numerator = 0;  // value in lowest terms; denominator > 0
  std::int64_t denominator = 1;
  std::vector<std::int64_t> numbers;  // as they stand in it
};

/// Evaluates whole numbers, + - * / and parentheses, exactly; × ÷ and LaTeX's \times, \div, \cdot, \left,
/// \right are read, too. There is no sign, so that -3 is none of the given numbers. What is too long (1000
/// bytes), nests too deep (50) or leaves 64 bits is not valid. Never throws.
CountdownResult evaluate_countdown(std::string_view expression);

/// Why an expression does not reach `target` with each of `given` used at most once; empty: it does.
std::string countdown_fault(std::string_view expression, const std::vector<std::int64_t>& given,
                            std::int64_t target);

}  // namespace fathom
