#include "posttrain/sorting_task.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "posttrain/generated_task.h"

namespace fathom {

const std::vector<TaskOption> kSortingOptions = {
    {"items", "both", "words, numbers or both"},
    {"min-length", "3", "items of a list at least, 2 to 50"},
    {"max-length", "8", "and at most"},
    {"largest", "999", "number in a list, 50 to 1000000"},
};

namespace {

constexpr std::array<std::string_view, 3> kSortingItems = {"words", "numbers", "both"};

class SortingTask : public GeneratedTask {
 public:
  SortingTask(const TaskOptions& options, const TaskRules& rules)
      : GeneratedTask(options.name(), rules),
        items_(kSortingItems.at(options.choice("items", kSortingItems))),
        least_(options.integer("min-length", 2, 50)),
        most_(options.integer("max-length", 2, 50)),
        largest_(options.integer("largest", 50, 1000000)) {
    if (least_ > most_)
      throw UsageError(
          fmt::format("task {}: min-length is {} and max-length {}", options.task(), least_, most_));
  }

 private:
  [[nodiscard]] Problem generate(Rng& rng) const override {
    const bool is_words = items_ == "words" || (items_ == "both" && rng.below(2) == 0);
    const std::int64_t length = random_between(rng, least_, most_);
    const bool is_reversed = rng.below(2) == 1;
    return is_words ? of_words(rng, length, is_reversed) : of_numbers(rng, length, is_reversed);
  }

  [[nodiscard]] static Problem of_words(Rng& rng, std::int64_t length, bool is_reversed) {
    std::vector<std::string> words = common_words();
    shuffle_items(rng, words);
    words.resize(static_cast<std::size_t>(length));
    return sort_problem(words, is_reversed,
                        is_reversed ? "Sort these words from last to first in the alphabet"
                                    : "Sort these words alphabetically");
  }
  [[nodiscard]] Problem of_numbers(Rng& rng, std::int64_t length, bool is_reversed) const {
    std::vector<std::int64_t> numbers;
    while (std::ssize(numbers) < length) {
      const std::int64_t number = random_between(rng, 0, largest_);
      if (std::ranges::find(numbers, number) == numbers.end()) numbers.push_back(number);
    }
    return sort_problem(numbers, is_reversed,
                        is_reversed ? "Sort these numbers from largest to smallest"
                                    : "Sort these numbers from smallest to largest");
  }

  /// Worked by selection: what comes next of those that are left.
  template <typename Item>
  static Problem sort_problem(const std::vector<Item>& items, bool is_reversed, std::string_view what) {
    std::vector<Item> left = items;
    std::vector<Item> sorted;
    std::vector<std::string> steps;
    while (!left.empty()) {
      const auto next = is_reversed ? std::ranges::max_element(left) : std::ranges::min_element(left);
      steps.push_back(fmt::format("{}: {}", fmt::join(left, ", "), *next));
      sorted.push_back(*next);
      left.erase(next);
    }
    Problem problem;
    problem.turns = {{"user", fmt::format("{}: {}.", what, fmt::join(items, ", "))}};
    problem.reference = fmt::format("{}", fmt::join(sorted, ", "));
    problem.solution = worked_solution(steps, problem.reference);
    problem.canonical = fmt::format("sorting {}", fmt::join(sorted, " "));
    return problem;
  }

  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    return check_list(problem.reference, answer);
  }

  std::string items_;
  std::int64_t least_;
  std::int64_t most_;
  std::int64_t largest_;
};

}  // namespace

std::unique_ptr<Task> make_sorting_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<SortingTask>(options, rules);
}

}  // namespace fathom
