// `fathom task`: problems with checkable answers, and scores of answers to them.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "plan/text_table.h"
#include "posttrain/line_file.h"
#include "posttrain/problem_json.h"
#include "posttrain/task_registry.h"

namespace fathom::cli {
namespace {

constexpr auto kReplaceBytes = OrderedJson::error_handler_t::replace;  // of what is no UTF-8

struct TaskCommand {
  std::string task;
  std::string split = "train";
  std::int64_t count = 1000;
  std::uint64_t seed = 1;
  std::string output;
  std::string score;
  bool list = false;
};

/// Lines that go to standard output, or into a file that appears when it is whole.
class LineOutput {
 public:
  explicit LineOutput(const std::string& path) {
    if (!path.empty()) file_ = std::make_unique<AtomicFile>(path);
  }
  void write(const OrderedJson& json) {
    const std::string line = json.dump(-1, ' ', false, kReplaceBytes) + "\n";
    if (file_ != nullptr) {
      file_->write(line);
    } else if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) {
      fail("standard output: cannot be written");
    }
  }
  void commit() {
    if (file_ != nullptr) file_->commit();
  }

 private:
  std::unique_ptr<AtomicFile> file_;
};

void list_tasks() {
  for (const TaskKind& kind : task_kinds()) {
    fmt::print("{}: {}\n", kind.name, kind.summary);
    std::vector<TableRow> rows;
    for (const TaskOption& option : kind.options)
      rows.push_back({std::string(option.key), std::string(option.standard), std::string(option.help)});
    if (!rows.empty()) fmt::print("{}", text_table(rows, 3));
  }
  fmt::print("all tasks:\n");
  std::vector<TableRow> rows;
  for (const TaskOption& option : common_task_options())
    rows.push_back({std::string(option.key), std::string(option.standard), std::string(option.help)});
  fmt::print("{}", text_table(rows, 3));
}

void write_problems(const TaskCommand& options) {
  const auto task = make_task(options.task);
  const Split split = split_of(options.split);
  LineOutput output(options.output);
  for (std::int64_t i = 0; i < options.count; ++i) {
    OrderedJson line = problem_to_json(task->problem(split, options.seed, i));
    line["task"] = task->name();
    line["split"] = options.split;
    line["seed"] = options.seed;
    line["index"] = i;
    output.write(line);
  }
  output.commit();
}

void score_answers(const TaskCommand& options) {
  const auto task = make_task(options.task);
  LineOutput output(options.output);
  std::int64_t count = 0;
  double accuracy = 0;
  double format = 0;
  for_each_line(options.score, [&](std::string_view text, const std::string& where) {
    const AnsweredProblem answered = answered_problem_of_json(parse_json(text, where), where);
    const Reward reward = task->score(answered.problem, answered.response);
    ++count;
    accuracy += reward.accuracy;
    format += reward.format;
    OrderedJson line = {{"accuracy", reward.accuracy},   {"format", reward.format},
                        {"language", reward.language},   {"length", reward.length},
                        {"extracted", reward.extracted}, {"answer", answered.problem.reference}};
    if (!reward.explanation.empty()) line["explanation"] = reward.explanation;
    output.write(line);
  });
  require(count > 0, "{}: holds no answers", options.score);
  output.commit();
  log_info("{} answers: accuracy {:.4f}, format {:.4f}", count, accuracy / static_cast<double>(count),
           format / static_cast<double>(count));
}

void run_task(const TaskCommand& options) {
  if (options.list) return list_tasks();
  if (options.task.empty()) throw UsageError("task: name one, as `fathom task arithmetic`; --list names all");
  if (options.score.empty()) {
    write_problems(options);
  } else {
    score_answers(options);
  }
}

}  // namespace

void add_task(CLI::App& app) {
  auto options = std::make_shared<TaskCommand>();
  CLI::App* command = app.add_subcommand(
      "task", "Problems whose answers can be checked, for training and evaluation; scores answers");
  command->add_option("TASK", options->task,
                      "As countdown, or with options: arithmetic:digits=3,operators=+-");
  command->add_flag("--list", options->list, "Name all tasks and their options");
  command->add_option("--split", options->split, "train or test; no problem is in both")
      ->capture_default_str();
  command->add_option("--count", options->count, "Problems to write")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 32U))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Same seed, same problems; of files, 0 keeps their order")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("-o,--output", options->output, "JSONL file to write (default: standard output)");
  command->add_option(
      "--score", options->score,
      "JSONL file of problems with answers (\"response\", or the assistant's last message) to score");
  command->footer(
      "Example:\n"
      "  fathom task words --count 10000 --output words.jsonl   # with worked solutions, as chats\n"
      "  fathom task words --score words.jsonl                  # which are right");
  command->callback([options] { run_task(*options); });
}

}  // namespace fathom::cli
