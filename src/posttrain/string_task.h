#pragma once

#include <memory>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// Small programs on strings, to be carried out by hand: reverse a word, count a letter, sort letters, edit a
/// word step by step, follow a stack of numbers.
std::unique_ptr<Task> make_string_task(const TaskOptions& options, const TaskRules& rules);

extern const std::vector<TaskOption> kStringOptions;

}  // namespace fathom
