#pragma once

#include <memory>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// Short stories with a question, of two to six steps, and numbers in them that do not matter. Two stories
/// that differ in names and things alone are the same problem.
std::unique_ptr<Task> make_word_problem_task(const TaskOptions& options, const TaskRules& rules);

extern const std::vector<TaskOption> kWordProblemOptions;

}  // namespace fathom
