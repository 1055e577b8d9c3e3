#include "posttrain/arithmetic_task.h"

#include <fmt/core.h>

#include "base/error.h"
#include "posttrain/generated_task.h"

namespace fathom {

const std::vector<TaskOption> kArithmeticOptions = {
    {"digits", "2", "digits of the largest numbers, 1 to 6"},
    {"operators", "+-*", "of + - * / (division comes out whole)"},
    {"depth", "2", "operations inside one another, 1 to 5"},
};

namespace {

constexpr std::int64_t kLargestValue = 1'000'000'000'000'000;  // of any step; exact in JSON readers, too

struct Expression {
  std::string text;       // as it is written
  std::string canonical;  // with the operands of + and * in order
  std::int64_t value = 0;
  bool is_number = true;
};

std::string in_parentheses(const Expression& part) {
  return part.is_number && part.value >= 0 ? part.text : "(" + part.text + ")";
}

std::int64_t apply_operator(char sign, std::int64_t a, std::int64_t b) {
  switch (sign) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    default:
      return a / b;
  }
}

class ArithmeticTask : public GeneratedTask {
 public:
  ArithmeticTask(const TaskOptions& options, const TaskRules& rules)
      : GeneratedTask(options.name(), rules),
        operators_(options.needed_text("operators")),
        depth_(options.integer("depth", 1, 5)) {
    if (operators_.find_first_not_of("+-*/") != std::string::npos)
      throw UsageError(
          fmt::format("task arithmetic: operators is some of + - * /, not \"{}\"", printable(operators_)));
    for (std::int64_t i = options.integer("digits", 1, 6); i > 0; --i) largest_ = largest_ * 10 + 9;
  }

 private:
  [[nodiscard]] Problem generate(Rng& rng) const override {
    std::vector<std::string> steps;
    const Expression whole = expression(rng, depth_, steps);
    Problem problem;
    problem.canonical = "arithmetic " + whole.canonical;
    problem.turns = {{"user", fmt::format("Compute {}.", whole.text)}};
    problem.reference = std::to_string(whole.value);
    problem.solution = worked_solution(steps, problem.reference);
    return problem;
  }

  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    return check_number(problem.reference, answer);
  }

  [[nodiscard]] Expression number(std::int64_t value) const {
    return {std::to_string(value), std::to_string(value), value, true};
  }

  /// An expression of exactly this depth; adds the steps that reduce it, from the inside.
  Expression expression(Rng& rng, std::int64_t depth, std::vector<std::string>& steps) const {
    if (depth == 0) return number(random_between(rng, 0, largest_));
    char sign = random_item(rng, operators_);
    Expression left = expression(rng, depth - 1, steps);
    if (sign == '/') return quotient(rng, left, steps);
    Expression right = expression(rng, random_between(rng, 0, depth - 1), steps);
    if (rng.below(2) == 1 && right.is_number) std::swap(left, right);
    if (sign == '*' && is_too_large(left.value, right.value)) sign = '-';
    return join(sign, left, right, steps);
  }

  static bool is_too_large(std::int64_t a, std::int64_t b) {
    std::int64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) || product > kLargestValue || product < -kLargestValue;
  }

  /// By a divisor of what is divided, so that it comes out whole.
  Expression quotient(Rng& rng, const Expression& dividend, std::vector<std::string>& steps) const {
    if (dividend.is_number) {
      const std::int64_t divisor = random_between(rng, 1, largest_);
      const std::int64_t value = random_between(rng, 0, largest_ / divisor);
      return join('/', number(value * divisor), number(divisor), steps);
    }
    std::vector<std::int64_t> divisors;
    for (std::int64_t i = 1; i <= std::min<std::int64_t>(largest_, 999); ++i)
      if (dividend.value % i == 0) divisors.push_back(i);
    return join('/', dividend, number(random_item(rng, divisors)), steps);
  }

  static Expression join(char sign, const Expression& a, const Expression& b,
                         std::vector<std::string>& steps) {
    Expression joined;
    joined.is_number = false;
    joined.value = apply_operator(sign, a.value, b.value);
    joined.text = fmt::format("{} {} {}", in_parentheses(a), sign, in_parentheses(b));
    const bool swaps = (sign == '+' || sign == '*') && b.canonical < a.canonical;
    joined.canonical =
        fmt::format("({}{}{})", swaps ? b.canonical : a.canonical, sign, swaps ? a.canonical : b.canonical);
    const auto shown = [](std::int64_t value) {
      return value < 0 ? fmt::format("({})", value) : std::to_string(value);
    };
    steps.push_back(fmt::format("{} {} {} = {}", shown(a.value), sign, shown(b.value), joined.value));
    return joined;
  }

  std::string operators_;
  std::int64_t depth_;
  std::int64_t largest_ = 0;
};

}  // namespace

std::unique_ptr<Task> make_arithmetic_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<ArithmeticTask>(options, rules);
}

}  // namespace fathom
