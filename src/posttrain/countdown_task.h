#pragma once

#include <memory>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// "Using the numbers 3, 5, 7 and 25, each at most once, ... reach 95." Any expression that does is right.
/// The same numbers in another order with the same target are the same problem.
std::unique_ptr<Task> make_countdown_task(const TaskOptions& options, const TaskRules& rules);

extern const std::vector<TaskOption> kCountdownOptions;

}  // namespace fathom
