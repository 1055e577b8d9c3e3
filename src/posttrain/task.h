#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "posttrain/answer_form.h"

namespace fathom {

/// One turn of a chat.
struct ChatTurn {
  std::string role;  // "system", "user", "assistant"
  std::string content;

  bool operator==(const ChatTurn&) const = default;
};

/// Which problems. A problem of a task belongs to one of them by what it is, so that none of `test` is ever
/// met in training, whatever the seeds.
enum class Split : std::uint8_t { train, test };

std::string_view split_name(Split split);
/// Throws `UsageError` for any other name.
Split split_of(std::string_view name);

/// The split that a generated problem belongs to: one in ten, by a hash of its canonical text, is for tests.
Split split_of_problem(std::string_view canonical);

struct Problem {
  std::string canonical;        // equal for two problems that are the same in other words
  std::vector<ChatTurn> turns;  // a system message, if any, and the question
  std::string solution;         // worked: `<think>` steps `</think>` and the answer; may be empty
  std::string reference;        // the answer alone
  std::map<std::string, std::string> metadata;  // what else scoring needs, or readers want to know

  /// 16 digits, of a hash of `canonical`.
  [[nodiscard]] std::string id() const;
  /// The last user turn.
  [[nodiscard]] const std::string& question() const;
};

/// What a model said.
struct Response {
  std::string text;         // all of it, with its think block
  std::int64_t tokens = 0;  // as the model counts; 0: unknown, and not punished
};

/// Parts of a reward, for others to weigh.
struct Reward {
  double accuracy = 0;      // 1: right; tasks may give parts of it
  double format = 0;        // 1: a think block as it should be, and an answer behind it
  double language = 1;      // see `language_consistency`
  double length = 0;        // see `overlong_punishment`
  std::string extracted;    // the answer as it was understood: equal for equal answers; empty: none
  std::string explanation;  // why it is not right, where the task can tell
};

/// How all tasks look at answers.
struct TaskRules {
  ThinkBlock think = ThinkBlock::required;
  std::string system;              // message before each question; empty: none
  std::int64_t length_limit = 0;   // tokens; 0: none
  std::int64_t length_margin = 0;  // tokens before it, over which the punishment grows
};

/// Problems with answers that can be checked. Immutable: threads may share one, unless it says otherwise.
class Task {
 public:
  struct Check {
    double accuracy = 0;
    std::string extracted;
    std::string explanation;
  };

  Task(std::string name, TaskRules rules) : name_(std::move(name)), rules_(std::move(rules)) {}
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  /// With its options, as "countdown:numbers=4".
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const TaskRules& rules() const { return rules_; }

  /// How many problems there are; nothing: as many as one likes.
  [[nodiscard]] virtual std::optional<std::int64_t> size(Split split) const = 0;

  /// The problem of these three numbers, the same on every machine. Where `size` bounds them, each epoch of
  /// that many indices has each problem once, in an order of the seed's; seed 0 keeps the file's order.
  /// Throws `Error` where the task has none.
  /// @param index  from 0 on
  [[nodiscard]] Problem problem(Split split, std::uint64_t seed, std::int64_t index) const;

  /// A pure function of both, except for tasks that ask another program.
  [[nodiscard]] Reward score(const Problem& problem, const Response& response) const;

 private:
  [[nodiscard]] virtual Problem make_problem(Split split, std::uint64_t seed, std::int64_t index) const = 0;
  [[nodiscard]] virtual Check check(const Problem& problem, const std::string& answer) const = 0;

  std::string name_;
  TaskRules rules_;
};

/// Right where the answer's number (`extract_number`) is the reference's.
Task::Check check_number(std::string_view reference, std::string_view answer);
/// Right where the answer's text (`extract_text`) is a list of the same items in the same order.
Task::Check check_list(std::string_view reference, std::string_view answer);
/// Right where the answer's text is the reference, both as `plain_answer` makes them.
Task::Check check_text(std::string_view reference, std::string_view answer, bool ignores_case);

/// A worked solution in the form that answers are to have.
/// @param steps  lines without their ends
std::string worked_solution(const std::vector<std::string>& steps, std::string_view answer);

}  // namespace fathom
