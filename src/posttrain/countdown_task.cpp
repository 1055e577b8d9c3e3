#include "posttrain/countdown_task.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "posttrain/answer_extraction.h"
#include "posttrain/countdown_expression.h"
#include "posttrain/generated_task.h"

namespace fathom {

const std::vector<TaskOption> kCountdownOptions = {
    {"numbers", "4", "that are given, 2 to 6"},
    {"largest", "25", "of them, 5 to 100"},
    {"target", "200", "the largest to be reached, 10 to 100000"},
};

namespace {

struct ReachedNumber {
  std::int64_t value = 0;
  std::string text;
  bool is_given = true;
};

/// A problem's metadata is from outside where answers in a file are scored.
std::vector<std::int64_t> numbers_of(const Problem& problem) {
  const auto place = problem.metadata.find("numbers");
  require(place != problem.metadata.end(), "a countdown problem has no \"numbers\" in its metadata");
  std::vector<std::int64_t> numbers;
  const std::string& text = place->second;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    std::int64_t number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    require(error == std::errc(), "numbers \"{}\" of a countdown problem are not as \"3 5 7\"",
            printable(text));
    numbers.push_back(number);
    at = next < end && *next == ' ' ? next + 1 : next;
  }
  return numbers;
}

std::int64_t target_of(const Problem& problem) {
  const auto place = problem.metadata.find("target");
  require(place != problem.metadata.end(), "a countdown problem has no \"target\" in its metadata");
  const std::string& text = place->second;
  std::int64_t target = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
  require(error == std::errc() && end == text.data() + text.size(),
          "target \"{}\" of a countdown problem is no whole number", printable(text));
  return target;
}

class CountdownTask : public GeneratedTask {
 public:
  CountdownTask(const TaskOptions& options, const TaskRules& rules)
      : GeneratedTask(options.name(), rules),
        count_(options.integer("numbers", 2, 6)),
        largest_(options.integer("largest", 5, 100)),
        largest_target_(options.integer("target", 10, 100000)) {}

 private:
  [[nodiscard]] Problem generate(Rng& rng) const override {
    for (;;) {
      std::vector<std::int64_t> numbers;
      for (std::int64_t i = 0; i < count_; ++i) numbers.push_back(random_between(rng, 1, largest_));
      std::vector<std::string> steps;
      const ReachedNumber reached = combine(rng, numbers, steps);
      // Two numbers of at most 5 have sums from 2 to 10: some target is always small enough.
      if (reached.value < 1 || reached.value > largest_target_) continue;
      Problem problem;
      problem.turns = {
          {"user", fmt::format("Using the numbers {}, each at most once, and + - * / and parentheses, "
                               "write an expression that equals {}.",
                               fmt::join(numbers, ", "), reached.value)}};
      problem.metadata = {{"numbers", fmt::format("{}", fmt::join(numbers, " "))},
                          {"target", std::to_string(reached.value)}};
      problem.reference = reached.text;
      problem.solution = worked_solution(steps, reached.text);
      std::ranges::sort(numbers);
      problem.canonical = fmt::format("countdown {} = {}", fmt::join(numbers, " "), reached.value);
      return problem;
    }
  }

  /// Joins two of the numbers by an operation that comes out whole and positive, until one is left.
  static ReachedNumber combine(Rng& rng, const std::vector<std::int64_t>& numbers,
                               std::vector<std::string>& steps) {
    std::vector<ReachedNumber> left;
    left.reserve(numbers.size());
    for (const std::int64_t number : numbers) left.push_back({number, std::to_string(number), true});
    while (left.size() > 1) {
      shuffle_items(rng, left);
      ReachedNumber b = std::move(left.back());
      left.pop_back();
      ReachedNumber a = std::move(left.back());
      left.pop_back();
      if (a.value < b.value) std::swap(a, b);
      std::string signs = "+*";
      if (a.value > b.value) signs += '-';
      if (a.value % b.value == 0) signs += '/';
      left.push_back(join(a, random_item(rng, signs), b, steps));
    }
    return left.front();
  }
  static ReachedNumber join(const ReachedNumber& a, char sign, const ReachedNumber& b,
                            std::vector<std::string>& steps) {
    const std::int64_t value = sign == '+'   ? a.value + b.value
                               : sign == '-' ? a.value - b.value
                               : sign == '*' ? a.value * b.value
                                             : a.value / b.value;
    steps.push_back(fmt::format("{} {} {} = {}", a.value, sign, b.value, value));
    const auto part = [](const ReachedNumber& one) { return one.is_given ? one.text : "(" + one.text + ")"; };
    return {value, fmt::format("{} {} {}", part(a), sign, part(b)), false};
  }

  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    std::string given = extract_text(answer);
    given = plain_answer(given.substr(0, given.find('=')));
    if (given.empty()) return {0, "", "no expression is given as the answer"};
    const std::vector<std::int64_t> numbers = numbers_of(problem);
    std::string fault = countdown_fault(given, numbers, target_of(problem));
    return {fault.empty() ? 1.0 : 0.0, std::move(given), std::move(fault)};
  }

  std::int64_t count_;
  std::int64_t largest_;
  std::int64_t largest_target_;
};

}  // namespace

std::unique_ptr<Task> make_countdown_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<CountdownTask>(options, rules);
}

}  // namespace fathom
