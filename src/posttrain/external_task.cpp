#include "posttrain/external_task.h"

#include <fmt/core.h>

#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_excerpt.h"
#include "base/log.h"
#include "posttrain/answer_extraction.h"
#include "posttrain/file_task.h"
#include "posttrain/line_server.h"
#include "posttrain/sandbox.h"

namespace fathom {

const std::vector<TaskOption> kExternalOptions = {
    {"train", "", "JSONL file of problems for training"},
    {"test", "", "JSONL file of problems for tests"},
    {"command", "", "program that judges, with arguments behind spaces"},
    {"seconds", "30", "that judging an answer may take, 1 to 3600"},
};

namespace {

Problem external_problem(const Json& line, const std::string& where) {
  Problem problem;
  problem.turns = {{"user", string_of_line(line, {"question", "problem", "prompt"}, where)}};
  if (line.contains("answer")) problem.reference = string_of_line(line, {"answer"}, where);
  if (line.contains("solution")) problem.solution = string_of_line(line, {"solution"}, where);
  return problem;
}

std::vector<std::string> words_of_command(const std::string& command) {
  std::vector<std::string> words;
  for (std::size_t begin = command.find_first_not_of(' '); begin < command.size();) {
    const std::size_t end = std::min(command.find(' ', begin), command.size());
    words.push_back(command.substr(begin, end - begin));
    begin = command.find_first_not_of(' ', end);
  }
  return words;
}

class ExternalTask : public FileTask {
 public:
  ExternalTask(const TaskOptions& options, const TaskRules& rules)
      : FileTask(options, rules, problem_files(options), external_problem), server_(server_of(options)) {}

 private:
  static LineServer server_of(const TaskOptions& options) {
    std::vector<std::string> words = words_of_command(options.needed_text("command"));
    if (words.empty()) throw UsageError("task external: command names no program");
    std::filesystem::path program = find_executable(words.front());
    words.erase(words.begin());
    return {std::move(program), std::move(words), static_cast<double>(options.integer("seconds", 1, 3600))};
  }

  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    const Json question = {
        {"prompt", problem.question()}, {"answer", answer}, {"reference", problem.reference}};
    return judgement(ask(question.dump(-1, ' ', false, Json::error_handler_t::replace)), answer);
  }

  [[nodiscard]] std::string ask(const std::string& line) const {
    const std::scoped_lock lock(mutex_);
    try {
      return server_.ask(line);
    } catch (const LineServerFailure& failure) {
      log_info("task external: {}: trying once more", failure.what());
      return server_.ask(line);
    }
  }

  Check judgement(const std::string& line, const std::string& answer) const {
    const std::string where = "an answer of task " + name();
    const Json json = parse_json(line, where);
    Check check;
    if (json.is_number()) {
      check.accuracy = json.get<double>();
    } else {
      require(json.is_object() && json.contains("score") && json["score"].is_number(),
              "{}: {} is neither a number nor an object with a number \"score\"", where, excerpt(json));
      check.accuracy = json["score"].get<double>();
    }
    require(check.accuracy >= 0 && check.accuracy <= 1, "{}: the score {} is not from 0 to 1", where,
            excerpt(json));
    check.extracted = text_of(json, "extracted").value_or(extract_text(answer));
    check.explanation = text_of(json, "explanation").value_or("");
    return check;
  }
  static std::optional<std::string> text_of(const Json& json, const char* field) {
    if (!json.is_object() || !json.contains(field) || !json[field].is_string()) return std::nullopt;
    return json[field].get<std::string>();
  }

  mutable std::mutex mutex_;
  mutable LineServer server_;  // guarded by it
};

}  // namespace

std::unique_ptr<Task> make_external_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<ExternalTask>(options, rules);
}

}  // namespace fathom
