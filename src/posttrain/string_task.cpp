#include "posttrain/string_task.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "posttrain/answer_extraction.h"
#include "posttrain/generated_task.h"

namespace fathom {

const std::vector<TaskOption> kStringOptions = {
    {"kind", "all", "reverse, count, letters, edit, stack or all"},
    {"steps", "4", "of an edit or stack program, 2 to 20"},
};

namespace {

constexpr std::array<std::string_view, 6> kStringKinds = {"reverse", "count", "letters",
                                                          "edit",    "stack", "all"};

std::string spelled(std::string_view word) {
  std::string text;
  for (const char c : word) text += std::string(text.empty() ? "" : " ") + c;
  return text;
}

/// Letters that are no word, so that there are many of them.
std::string random_letters(Rng& rng, std::int64_t least, std::int64_t most) {
  std::string letters;
  for (std::int64_t left = random_between(rng, least, most); left > 0; --left)
    letters += static_cast<char>('a' + rng.below(26));
  return letters;
}

/// Two words as one string.
std::string word_pair(Rng& rng) {
  return random_item(rng, common_words()) + random_item(rng, common_words());
}

Problem string_problem(std::string question, std::string reference, const std::vector<std::string>& steps,
                       std::string canonical) {
  Problem problem;
  problem.turns = {{"user", std::move(question)}};
  problem.solution = worked_solution(steps, reference);
  problem.reference = std::move(reference);
  problem.canonical = "strings " + std::move(canonical);
  return problem;
}

Problem reverse_problem(Rng& rng) {
  const std::string word = word_pair(rng);
  const std::string reversed(word.rbegin(), word.rend());
  return string_problem(fmt::format("Write \"{}\" backwards.", word), reversed,
                        {spelled(word), spelled(reversed)}, "reverse " + word);
}

Problem count_problem(Rng& rng) {
  const std::string word = word_pair(rng);
  const char letter = random_item(rng, word);
  std::vector<std::string> steps = {spelled(word)};
  std::int64_t count = 0;
  for (std::size_t i = 0; i < word.size(); ++i)
    if (word[i] == letter) steps.push_back(fmt::format("letter {}: {}", i + 1, ++count));
  return string_problem(fmt::format("How many times does the letter \"{}\" occur in \"{}\"?", letter, word),
                        std::to_string(count), steps, fmt::format("count {} {}", letter, word));
}

Problem letters_problem(Rng& rng) {
  const std::string letters = random_letters(rng, 4, 12);
  std::string left = letters;
  std::string sorted;
  std::vector<std::string> steps;
  while (!left.empty()) {
    const auto next = std::ranges::min_element(left);
    steps.push_back(fmt::format("{}: {}", spelled(left), *next));
    sorted += *next;
    left.erase(next);
  }
  return string_problem(fmt::format("Put the letters of \"{}\" into alphabetical order.", letters), sorted,
                        steps, "letters " + sorted);
}

Problem edit_problem(Rng& rng, std::int64_t program_steps) {
  constexpr std::size_t kLongest = 40;
  const std::string begin = random_letters(rng, 4, 8);
  std::string text = begin;
  std::vector<std::string> orders;
  std::vector<std::string> steps;
  for (std::int64_t i = 0; i < program_steps; ++i) {
    std::uint64_t kind = rng.below(5);
    if (text.size() <= 2) kind = 0;                         // it must not vanish
    if (kind == 4 && text.size() > kLongest / 2) kind = 1;  // nor grow beyond reason
    std::string order;
    if (kind == 0) {
      const std::string added = random_letters(rng, 1, 3);
      order = fmt::format("append \"{}\"", added);
      text += added;
    } else if (kind == 1) {
      order = "remove the first letter";
      text.erase(0, 1);
    } else if (kind == 2) {
      order = "swap the first and the last letter";
      std::swap(text.front(), text.back());
    } else if (kind == 3) {
      order = "reverse it";
      std::ranges::reverse(text);
    } else {
      order = "double it";
      text += text;
    }
    orders.push_back(fmt::format("{}. {}", i + 1, order));
    steps.push_back(fmt::format("{}: {}", order, text));
  }
  return string_problem(
      fmt::format("Start with \"{}\".\n{}\nWhat is the result?", begin, fmt::join(orders, "\n")), text, steps,
      fmt::format("edit {} {}", begin, fmt::join(orders, " ")));
}

Problem stack_problem(Rng& rng, std::int64_t program_steps) {
  std::vector<std::int64_t> stack;
  std::vector<std::string> orders;
  std::vector<std::string> steps;
  for (std::int64_t i = 0; i < program_steps; ++i) {
    const std::uint64_t kind = stack.size() < 2 ? 0 : rng.below(5);
    std::string order;
    if (kind == 0) {
      stack.push_back(random_between(rng, 1, 20));
      order = fmt::format("push {}", stack.back());
    } else if (kind == 1) {
      order = "pop";
      stack.pop_back();
    } else if (kind == 2) {
      order = "duplicate the top";
      stack.push_back(stack.back());
    } else if (kind == 3) {
      order = "swap the two on top";
      std::swap(stack[stack.size() - 1], stack[stack.size() - 2]);
    } else {
      order = "replace the two on top by their sum";
      const std::int64_t top = stack.back();
      stack.pop_back();
      stack.back() += top;
    }
    orders.push_back(fmt::format("{}. {}", i + 1, order));
    steps.push_back(fmt::format("{}: {}", order, fmt::join(stack, ", ")));
  }
  return string_problem(fmt::format("A stack is empty at first.\n{}\nWhat does it hold, from bottom to top?",
                                    fmt::join(orders, "\n")),
                        fmt::format("{}", fmt::join(stack, ", ")), steps,
                        fmt::format("stack {}", fmt::join(orders, " ")));
}

class StringTask : public GeneratedTask {
 public:
  StringTask(const TaskOptions& options, const TaskRules& rules)
      : GeneratedTask(options.name(), rules),
        kind_(kStringKinds.at(options.choice("kind", kStringKinds))),
        steps_(options.integer("steps", 2, 20)) {}

 private:
  [[nodiscard]] Problem generate(Rng& rng) const override {
    const std::string_view kind =
        kind_ == "all" ? kStringKinds.at(static_cast<std::size_t>(rng.below(5))) : std::string_view(kind_);
    Problem problem = kind == "reverse"   ? reverse_problem(rng)
                      : kind == "count"   ? count_problem(rng)
                      : kind == "letters" ? letters_problem(rng)
                      : kind == "edit"    ? edit_problem(rng, steps_)
                                          : stack_problem(rng, steps_);
    problem.metadata = {{"kind", std::string(kind)}};
    return problem;
  }

  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    const auto kind = problem.metadata.find("kind");
    if (kind != problem.metadata.end() && kind->second == "count")
      return check_number(problem.reference, answer);
    return check_list(problem.reference, answer);
  }

  std::string kind_;
  std::int64_t steps_;
};

}  // namespace

std::unique_ptr<Task> make_string_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<StringTask>(options, rules);
}

}  // namespace fathom
