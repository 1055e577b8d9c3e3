#pragma once

#include <memory>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// "Sort these words alphabetically: pear, apple, plum." The same items in another order, to be sorted the
/// same way, are the same problem.
std::unique_ptr<Task> make_sorting_task(const TaskOptions& options, const TaskRules& rules);

extern const std::vector<TaskOption> kSortingOptions;

}  // namespace fathom
