#include "posttrain/question_tasks.h"

#include <fmt/core.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "posttrain/answer_extraction.h"
#include "posttrain/file_task.h"

namespace fathom {

const std::vector<TaskOption> kGsm8kOptions = {
    {"path", "", "folder with train.jsonl and test.jsonl, as the data set has them"},
};
const std::vector<TaskOption> kExactOptions = {
    {"train", "", "JSONL file of problems for training"},
    {"test", "", "JSONL file of problems for tests"},
    {"compare", "text", "answers as text, as number, or as case: text of the same case"},
};

namespace {

constexpr std::size_t kMostChoices = 26;

/// The answer at the end of a worked solution of GSM8K.
constexpr std::string_view kGsm8kAnswer = "####";

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) lines.emplace_back(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

Problem gsm8k_problem(const Json& line, const std::string& where) {
  Problem problem;
  problem.turns = {{"user", string_of_line(line, {"question"}, where)}};
  const std::string worked = string_of_line(line, {"answer"}, where);
  const std::size_t mark = worked.rfind(kGsm8kAnswer);
  require(mark != std::string::npos, "{}: its answer does not end with #### and a number", where);
  problem.reference = plain_answer(std::string_view(worked).substr(mark + kGsm8kAnswer.size()));
  require(find_numbers(problem.reference).size() == 1, "{}: the answer behind #### is no number", where);
  problem.solution =
      worked_solution(lines_of(without_calculations(worked.substr(0, mark))), problem.reference);
  return problem;
}

class Gsm8kTask : public FileTask {
 public:
  Gsm8kTask(const TaskOptions& options, const TaskRules& rules)
      : FileTask(options, rules, files_of(options), gsm8k_problem) {}

 private:
  static ProblemFiles files_of(const TaskOptions& options) {
    const std::filesystem::path folder = options.needed_text("path");
    return {folder / "train.jsonl", folder / "test.jsonl"};
  }
  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    return check_number(problem.reference, answer);
  }
};

Problem exact_problem(const Json& line, const std::string& where) {
  Problem problem;
  problem.turns = {{"user", string_of_line(line, {"question", "problem", "prompt"}, where)}};
  problem.reference = string_of_line(line, {"answer"}, where);
  if (line.contains("solution"))
    problem.solution =
        worked_solution(lines_of(string_of_line(line, {"solution"}, where)), problem.reference);
  return problem;
}

class ExactTask : public FileTask {
 public:
  ExactTask(const TaskOptions& options, const TaskRules& rules)
      : FileTask(options, rules, problem_files(options), exact_problem),
        compare_(kCompare.at(options.choice("compare", kCompare))) {}

 private:
  static constexpr std::array<std::string_view, 3> kCompare = {"text", "number", "case"};

  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    if (compare_ == "number") return check_number(problem.reference, answer);
    return check_text(problem.reference, answer, compare_ == "text");
  }

  std::string_view compare_;
};

char letter_of(std::size_t place) {
  return static_cast<char>('A' + place);
}

/// The place of the right choice that a line names.
std::size_t right_choice(const Json& line, std::size_t choices, const std::string& where) {
  const std::string answer = string_of_line(line, {"answer"}, where);
  const auto is_answer = [&](std::size_t i) {
    return answer == std::string(1, letter_of(i)) || answer == std::to_string(i);
  };
  for (std::size_t i = 0; i < choices; ++i)
    if (is_answer(i)) return i;
  fail("{}: \"answer\" is neither the letter nor the place of one of {} choices", where, choices);
}

Problem choice_problem(const Json& line, const std::string& where) {
  const auto choices = line.find("choices");
  require(
      choices != line.end() && choices->is_array() && choices->size() >= 2 && choices->size() <= kMostChoices,
      "{}: needs a list \"choices\" of 2 to {} strings", where, kMostChoices);
  Problem problem;
  std::string text = string_of_line(line, {"question"}, where);
  for (std::size_t i = 0; i < choices->size(); ++i) {
    const Json& choice = (*choices)[i];
    require(choice.is_string(), "{}: needs a list \"choices\" of 2 to {} strings", where, kMostChoices);
    problem.metadata[std::string(1, letter_of(i))] = choice.get<std::string>();
    text += fmt::format("\n{}) {}", letter_of(i), choice.get_ref<const std::string&>());
  }
  problem.turns = {{"user", std::move(text)}};
  problem.reference = letter_of(right_choice(line, choices->size(), where));
  return problem;
}

class ChoiceTask : public FileTask {
 public:
  ChoiceTask(const TaskOptions& options, const TaskRules& rules)
      : FileTask(options, rules, problem_files(options), choice_problem) {}

 private:
  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    std::vector<std::string> choices;
    for (std::size_t i = 0; i < kMostChoices; ++i) {
      const auto choice = problem.metadata.find(std::string(1, letter_of(i)));
      if (choice == problem.metadata.end()) break;
      choices.push_back(choice->second);
    }
    const char letter = chosen_letter(answer, choices);
    if (letter == 0) return {0, "", "no choice is named"};
    return {problem.reference == std::string(1, letter) ? 1.0 : 0.0, std::string(1, letter), ""};
  }
};

bool is_word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// The choice that a text names with its first letter, or with all of it.
char named_choice(std::string_view text, const std::vector<std::string>& choices) {
  const auto is_choice = [&](char c) { return c >= 'A' && c < static_cast<char>('A' + choices.size()); };
  for (std::size_t i = 0; i < choices.size(); ++i)
    if (lower_case(plain_answer(choices[i])) == lower_case(text)) return letter_of(i);
  if (text.starts_with('(')) text.remove_prefix(1);
  if (text.empty()) return 0;
  const bool stands_alone = text.size() == 1 || (text.size() == 2 && text[1] == ')');
  if (stands_alone && is_choice(static_cast<char>(text[0] - 'a' + 'A')))
    return static_cast<char>(text[0] - 'a' + 'A');
  if (!is_choice(text[0]) || (text.size() > 1 && is_word_char(text[1]))) return 0;
  // "A dog" names no choice.
  const bool is_word = text.size() > 1 && text[1] == ' ';
  return is_word ? '\0' : text[0];
}

}  // namespace

char chosen_letter(std::string_view answer, const std::vector<std::string>& choices) {
  if (const char named = named_choice(extract_text(answer), choices)) return named;
  if (extract_marked_text(answer)) return 0;
  const std::string_view text = final_part(answer);
  for (std::size_t i = text.size(); i >= 3; --i) {
    const std::string_view part = text.substr(i - 3, 3);
    if (part[0] == '(' && part[2] == ')' && part[1] >= 'A' &&
        part[1] < static_cast<char>('A' + choices.size()))
      return part[1];
  }
  return 0;
}

std::string without_calculations(std::string_view text) {
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = text.find("<<", at);
    const std::size_t end = begin == std::string_view::npos ? begin : text.find(">>", begin);
    if (end == std::string_view::npos) return kept += text.substr(at);
    kept += text.substr(at, begin - at);
    at = end + 2;
  }
  return kept;
}

std::unique_ptr<Task> make_gsm8k_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<Gsm8kTask>(options, rules);
}
std::unique_ptr<Task> make_exact_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<ExactTask>(options, rules);
}
std::unique_ptr<Task> make_choice_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<ChoiceTask>(options, rules);
}

}  // namespace fathom
