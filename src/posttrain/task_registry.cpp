#include "posttrain/task_registry.h"

#include <fmt/core.h>

#include <array>

#include "base/error.h"
#include "base/nearest_name.h"
#include "posttrain/arithmetic_task.h"
#include "posttrain/countdown_task.h"
#include "posttrain/external_task.h"
#include "posttrain/file_task.h"
#include "posttrain/program_task.h"
#include "posttrain/question_tasks.h"
#include "posttrain/sorting_task.h"
#include "posttrain/string_task.h"
#include "posttrain/word_problem_task.h"

namespace fathom {
namespace {

/// What `system=instruct` says.
constexpr std::string_view kInstruction =
    "Think about the problem step by step between <think> and </think>. Then give the final answer, and "
    "nothing "
    "else, in \\boxed{}.";

TaskRules read_rules(const TaskOptions& options) {
  static constexpr std::array<std::string_view, 2> kThink = {"required", "optional"};
  constexpr std::int64_t kMost = std::int64_t{1} << 40U;
  TaskRules rules;
  rules.think = options.choice("think", kThink) == 0 ? ThinkBlock::required : ThinkBlock::optional;
  rules.system = options.text("system") == "instruct" ? std::string(kInstruction) : options.text("system");
  rules.length_limit = options.integer("length-limit", 0, kMost);
  rules.length_margin = options.integer("length-margin", 0, kMost);
  return rules;
}

}  // namespace

std::span<const TaskKind> task_kinds() {
  static const std::vector<TaskKind> kKinds = {
      {"arithmetic", "expressions of whole numbers", kArithmeticOptions, make_arithmetic_task},
      {"words", "stories with numbers, of two to six steps", kWordProblemOptions, make_word_problem_task},
      {"countdown", "reach a number with given ones", kCountdownOptions, make_countdown_task},
      {"sorting", "lists of words or numbers", kSortingOptions, make_sorting_task},
      {"strings", "small programs on strings and stacks", kStringOptions, make_string_task},
      {"gsm8k", "grade-school mathematics", kGsm8kOptions, make_gsm8k_task},
      {"exact", "questions in files, with one right answer", kExactOptions, make_exact_task},
      {"choice", "questions in files, with choices", kProblemFileOptions, make_choice_task},
      {"program", "programs to be written, run on their tests in a sandbox", kProgramOptions,
       make_program_task},
      {"external", "questions in files, judged by another program", kExternalOptions, make_external_task},
  };
  return kKinds;
}

std::span<const TaskOption> common_task_options() {
  static const std::vector<TaskOption> kOptions = {
      {"think", "required", "whether the format asks for a think block: required or optional"},
      {"system", "",
       "message before each question; instruct: to think, and to put the answer into \\boxed{}"},
      {"length-limit", "0", "tokens from which on an answer's length is punished with -1; 0: never"},
      {"length-margin", "0", "tokens before that, over which the punishment grows"},
  };
  return kOptions;
}

std::unique_ptr<Task> make_task(std::string_view spec) {
  TaskOptions options(spec);
  std::vector<std::string_view> names;
  for (const TaskKind& kind : task_kinds()) {
    names.push_back(kind.name);
    if (kind.name != options.task()) continue;
    std::vector<TaskOption> allowed(kind.options.begin(), kind.options.end());
    allowed.insert(allowed.end(), common_task_options().begin(), common_task_options().end());
    options.allow(allowed);
    return kind.make(options, read_rules(options));
  }
  const std::string_view nearest = nearest_name(options.task(), names);
  throw UsageError(fmt::format("there is no task \"{}\"{}", printable(options.task()),
                               nearest.empty() ? ": `fathom task --list` names those there are"
                                               : fmt::format(": did you mean {}?", nearest)));
}

}  // namespace fathom
