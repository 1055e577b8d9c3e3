#include "posttrain/program_task.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "posttrain/answer_extraction.h"
#include "posttrain/file_task.h"
#include "posttrain/sandbox.h"

namespace fathom {

const std::vector<TaskOption> kProgramOptions = {
    {"train", "", "JSONL file of problems for training"},
    {"test", "", "JSONL file of problems for tests"},
    {"command", "python3", "executable that runs a program, given its file"},
    {"cpu-seconds", "5", "of processor time for each test, 1 to 3600"},
    {"wall-seconds", "10", "of time for each test, 1 to 3600"},
    {"memory-mib", "1024", "of memory, 16 to 1048576"},
};

namespace {

constexpr const char* kTests = "tests";

Problem program_problem(const Json& line, const std::string& where) {
  Problem problem;
  problem.turns = {{"user", string_of_line(line, {"question", "problem", "prompt"}, where)}};
  const auto tests = line.find(kTests);
  require(tests != line.end() && (tests->is_string() || (tests->is_array() && !tests->empty())),
          "{}: needs \"tests\": a text, or a list of objects with \"input\" and \"output\"", where);
  if (tests->is_array())
    for (const Json& test : *tests)
      require(test.is_object() && test.contains("input") && test.contains("output") &&
                  test["input"].is_string() && test["output"].is_string(),
              "{}: a test has no strings \"input\" and \"output\"", where);
  problem.metadata[kTests] = tests->dump(-1, ' ', false, Json::error_handler_t::replace);
  if (line.contains("solution")) {
    problem.reference = string_of_line(line, {"solution"}, where);
    problem.solution = fmt::format("<think>\nA program does it.\n</think>\n```\n{}\n```", problem.reference);
  }
  return problem;
}

/// Without white space at the ends of lines and of the whole.
std::string without_trailing_space(std::string_view text) {
  std::string kept;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    kept += line.substr(0, line.find_last_not_of(" \t\r") + 1);
    kept += '\n';
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  kept.erase(kept.find_last_not_of('\n') + 1);
  return kept;
}

std::string excerpt_of(std::string_view text) {
  return printable(text.substr(text.size() > 200 ? text.size() - 200 : 0));
}

class ProgramTask : public FileTask {
 public:
  ProgramTask(const TaskOptions& options, const TaskRules& rules)
      : FileTask(options, rules, problem_files(options), program_problem),
        command_(find_executable(options.needed_text("command"))),
        sandbox_(limits_of(options)) {}

 private:
  static constexpr const char* kProgramFile = "program";

  static SandboxLimits limits_of(const TaskOptions& options) {
    SandboxLimits limits;
    limits.cpu_seconds = static_cast<int>(options.integer("cpu-seconds", 1, 3600));
    limits.wall_seconds = static_cast<double>(options.integer("wall-seconds", 1, 3600));
    limits.memory_bytes = static_cast<std::uint64_t>(options.integer("memory-mib", 16, 1 << 20)) << 20U;
    return limits;
  }

  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    const std::string program = extract_program(answer);
    if (program.empty()) return {0, "", "no program is given as the answer"};
    const auto place = problem.metadata.find(kTests);
    require(place != problem.metadata.end(), "a problem has no \"tests\" in its metadata");
    const Json tests = parse_json(place->second, "tests of a problem");
    std::string fault =
        tests.is_string() ? run_text(program, tests.get<std::string>()) : run_list(program, tests);
    return {fault.empty() ? 1.0 : 0.0, program, std::move(fault)};
  }

  [[nodiscard]] SandboxResult run(const std::string& program, std::string_view input) const {
    return sandbox_.run({command_.string(), kProgramFile}, input, {{kProgramFile, program}});
  }

  /// @return why it fails; empty: it does not
  [[nodiscard]] std::string run_text(const std::string& program, const std::string& tests) const {
    const bool is_python = command_.filename().string().starts_with("python");
    std::random_device random;
    const std::string reached = fmt::format("{:08x}{:08x}", random(), random());
    const SandboxResult result =
        run(program + "\n" + tests + (is_python ? fmt::format("\nprint('{}')\n", reached) : "\n"), {});
    if (!result.succeeded()) return fmt::format("{}: {}", result.explanation, excerpt_of(result.err));
    if (is_python && result.out.find(reached) == std::string::npos) return "ended before its tests were done";
    return {};
  }

  [[nodiscard]] std::string run_list(const std::string& program, const Json& tests) const {
    for (std::size_t i = 0; i < tests.size(); ++i) {
      const SandboxResult result = run(program, tests[i].at("input").get_ref<const std::string&>());
      if (!result.succeeded())
        return fmt::format("test {} of {}: {}: {}", i + 1, tests.size(), result.explanation,
                           excerpt_of(result.err));
      if (without_trailing_space(result.out) !=
          without_trailing_space(tests[i].at("output").get_ref<const std::string&>()))
        return fmt::format("test {} of {}: wrote \"{}\"", i + 1, tests.size(), excerpt_of(result.out));
    }
    return {};
  }

  std::filesystem::path command_;
  Sandbox sandbox_;
};

}  // namespace

std::string extract_program(std::string_view answer) {
  const std::string_view text = final_part(answer);
  static constexpr std::string_view kFence = "```";
  std::size_t begin = std::string_view::npos;  // of the program in an open block
  std::string_view last;
  bool has_block = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (text.substr(at, end - at).starts_with(kFence)) {
      if (begin == std::string_view::npos) {
        begin = std::min(end + 1, text.size());
      } else {
        last = text.substr(begin, at - begin);
        has_block = true;
        begin = std::string_view::npos;
      }
    }
    at = end + 1;
  }
  // A block that is not closed goes on to the end.
  if (begin != std::string_view::npos) {
    last = text.substr(begin);
    has_block = true;
  }
  const std::string_view program = has_block ? last : text;
  return program.find_first_not_of(" \t\r\n") == std::string_view::npos ? std::string()
                                                                        : std::string(program);
}

std::unique_ptr<Task> make_program_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<ProgramTask>(options, rules);
}

}  // namespace fathom
