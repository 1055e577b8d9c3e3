#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// Where the problems of a task lie.
struct ProblemFiles {
  std::filesystem::path train;  // JSON lines; empty: none
  std::filesystem::path test;
};

/// "train" and "test" of a task's options, of which one at least must be given.
ProblemFiles problem_files(const TaskOptions& options);
extern const std::vector<TaskOption> kProblemFileOptions;

/// A task whose problems lie in files. Those for training that are a test problem word for word, but for case
/// and white space, are left out.
class FileTask : public Task {
 public:
  /// Makes a problem of a line; `canonical` is set from its question where it leaves it empty.
  using ReadProblem = std::function<Problem(const Json& line, const std::string& where)>;

  /// Reads all. Throws `Error` naming file and line.
  FileTask(const TaskOptions& options, const TaskRules& rules, const ProblemFiles& files,
           const ReadProblem& read);

  [[nodiscard]] std::optional<std::int64_t> size(Split split) const override {
    return std::ssize(split == Split::train ? train_ : test_);
  }

 private:
  [[nodiscard]] Problem make_problem(Split split, std::uint64_t seed, std::int64_t index) const override;

  std::vector<Problem> train_;
  std::vector<Problem> test_;
};

/// The string under the first of `fields` that a line has. Throws `Error` naming the first where it has none.
std::string string_of_line(const Json& line, std::initializer_list<const char*> fields,
                           const std::string& where);

}  // namespace fathom
