#pragma once

#include <memory>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// "Compute (12 + 7) * 3." Expressions of whole numbers that come out whole, reduced from the inside in the
/// worked solution. Two expressions that differ in the order of sums and products alone are the same problem.
std::unique_ptr<Task> make_arithmetic_task(const TaskOptions& options, const TaskRules& rules);

extern const std::vector<TaskOption> kArithmeticOptions;

}  // namespace fathom
