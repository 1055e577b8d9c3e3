#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

// Tasks of questions in files.

/// GSM8K (Cobbe et al. 2021): lines of "question" and "answer", the answer's steps with calculations in
/// `<<48/2=24>>`, which are left out of worked solutions, and `#### 24` at their end.
std::unique_ptr<Task> make_gsm8k_task(const TaskOptions& options, const TaskRules& rules);
extern const std::vector<TaskOption> kGsm8kOptions;

/// Lines of "question" (or "problem", "prompt"), "answer", and "solution" where there is one. Right is the
/// same text or, with compare=number, the same number.
std::unique_ptr<Task> make_exact_task(const TaskOptions& options, const TaskRules& rules);
extern const std::vector<TaskOption> kExactOptions;

/// Lines of "question", "choices" (2 to 26 strings) and "answer": a letter, or a choice's place from 0 on.
std::unique_ptr<Task> make_choice_task(const TaskOptions& options, const TaskRules& rules);

/// A text without GSM8K's `<<...>>`.
std::string without_calculations(std::string_view text);

/// The letter of the choice that an answer takes: behind its marks or in its last line, "B", "(B)", "B)
/// five", "B.", "b" alone, or the choice's own text; else the last "(B)". 0: none.
/// @param choices  texts
char chosen_letter(std::string_view answer, const std::vector<std::string>& choices);

}  // namespace fathom
