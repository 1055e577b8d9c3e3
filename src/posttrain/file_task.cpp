#include "posttrain/file_task.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "posttrain/answer_extraction.h"
#include "posttrain/line_file.h"
#include "train/permutation.h"

namespace fathom {

const std::vector<TaskOption> kProblemFileOptions = {
    {"train", "", "JSONL file of problems for training"},
    {"test", "", "JSONL file of problems for tests"},
};

namespace {

std::vector<Problem> read_problems(const std::filesystem::path& file, const FileTask::ReadProblem& read) {
  std::vector<Problem> problems;
  if (file.empty()) return problems;
  for_each_line(file, [&](std::string_view text, const std::string& where) {
    const Json line = parse_json(text, where);
    require(line.is_object(), "{}: is no JSON object", where);
    Problem problem = read(line, where);
    if (problem.canonical.empty()) problem.canonical = lower_case(plain_answer(problem.question()));
    problems.push_back(std::move(problem));
  });
  require(!problems.empty(), "{}: holds no problems", file.string());
  return problems;
}

}  // namespace

ProblemFiles problem_files(const TaskOptions& options) {
  ProblemFiles files{options.text("train"), options.text("test")};
  if (files.train.empty() && files.test.empty())
    throw UsageError(
        fmt::format("task {}: give it problems: {}:train=FILE.jsonl,test=FILE.jsonl, or one of them",
                    options.task(), options.task()));
  return files;
}

FileTask::FileTask(const TaskOptions& options, const TaskRules& rules, const ProblemFiles& files,
                   const ReadProblem& read)
    : Task(options.name(), rules),
      train_(read_problems(files.train, read)),
      test_(read_problems(files.test, read)) {
  std::set<std::string_view> tested;
  for (const Problem& problem : test_) tested.insert(problem.canonical);
  const auto left_out =
      std::erase_if(train_, [&](const Problem& problem) { return tested.contains(problem.canonical); });
  if (left_out > 0)
    log_info("task {}: {} problems for training are test problems, and left out", name(), left_out);
}

Problem FileTask::make_problem(Split split, std::uint64_t seed, std::int64_t index) const {
  const std::vector<Problem>& problems = split == Split::train ? train_ : test_;
  require(!problems.empty(), "task {}: has no problems for {}: give it a file of them, as {}=FILE.jsonl",
          name(), split_name(split), split_name(split));
  const auto size = static_cast<std::uint64_t>(problems.size());
  const auto place = static_cast<std::uint64_t>(index);
  if (seed == 0) return problems[place % size];
  return problems[Permutation(size, seed, place / size)(place % size)];
}

std::string string_of_line(const Json& line, std::initializer_list<const char*> fields,
                           const std::string& where) {
  for (const char* field : fields) {
    const auto place = line.find(field);
    if (place == line.end()) continue;
    if (place->is_string()) return place->get<std::string>();
    if (place->is_number()) return place->dump();
    fail("{}: \"{}\" is neither a string nor a number", where, field);
  }
  fail("{}: needs a string \"{}\"", where, *fields.begin());
}

}  // namespace fathom
