#include "posttrain/task.h"

#include <fmt/core.h>

#include "base/checksum.h"
#include "base/error.h"
#include "posttrain/answer_extraction.h"

namespace fathom {

std::string_view split_name(Split split) {
  return split == Split::train ? "train" : "test";
}

Split split_of(std::string_view name) {
  if (name == "train") return Split::train;
  if (name == "test") return Split::test;
  throw UsageError(fmt::format("there is no split \"{}\": train or test", printable(name)));
}

Split split_of_problem(std::string_view canonical) {
  return checksum(canonical) % 10 == 0 ? Split::test : Split::train;
}

std::string Problem::id() const {
  return fmt::format("{:016x}", checksum(canonical));
}

const std::string& Problem::question() const {
  for (auto turn = turns.rbegin(); turn != turns.rend(); ++turn)
    if (turn->role == "user") return turn->content;
  fail("a problem has no user message: each needs one");
}

Problem Task::problem(Split split, std::uint64_t seed, std::int64_t index) const {
  require(index >= 0, "task {}: there is no problem {}: they count from 0 on", name_, index);
  Problem made = make_problem(split, seed, index);
  if (!rules_.system.empty()) made.turns.insert(made.turns.begin(), {"system", rules_.system});
  return made;
}

Reward Task::score(const Problem& problem, const Response& response) const {
  Check checked = check(problem, response.text);
  Reward reward;
  reward.accuracy = checked.accuracy;
  reward.format = has_think_form(response.text, rules_.think) && !checked.extracted.empty() ? 1 : 0;
  reward.language = language_consistency(problem.question(), response.text);
  reward.length = overlong_punishment(response.tokens, rules_.length_limit, rules_.length_margin);
  reward.extracted = std::move(checked.extracted);
  reward.explanation = std::move(checked.explanation);
  return reward;
}

Task::Check check_number(std::string_view reference, std::string_view answer) {
  const std::optional<AnswerNumber> given = extract_number(answer);
  if (!given) return {0, "", "no number is given as the answer"};
  const std::vector<AnswerNumber> wanted = find_numbers(reference);
  const bool is_right = !wanted.empty() && same_number(wanted.back(), *given);
  return {is_right ? 1.0 : 0.0, given->value + (given->is_percent ? "%" : ""), ""};
}

Task::Check check_list(std::string_view reference, std::string_view answer) {
  std::string given = plain_list(extract_text(answer));
  const bool is_right = !given.empty() && given == plain_list(reference);
  return {is_right ? 1.0 : 0.0, std::move(given), ""};
}

Task::Check check_text(std::string_view reference, std::string_view answer, bool ignores_case) {
  std::string given = extract_text(answer);
  std::string wanted = plain_answer(reference);
  if (ignores_case) {
    given = lower_case(given);
    wanted = lower_case(wanted);
  }
  const bool is_right = !given.empty() && given == wanted;
  return {is_right ? 1.0 : 0.0, std::move(given), ""};
}

std::string worked_solution(const std::vector<std::string>& steps, std::string_view answer) {
  std::string text = "<think>\n";
  for (const std::string& step : steps) text += step + "\n";
  text += "</think>\n\\boxed{";
  text += answer;
  text += "}";
  return text;
}

}  // namespace fathom
