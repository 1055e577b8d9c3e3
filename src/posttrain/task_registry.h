#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// A kind of task that can be named.
struct TaskKind {
  std::string_view name;
  std::string_view summary;
  std::span<const TaskOption> options;  // its own; those of all tasks are `common_task_options`
  std::unique_ptr<Task> (*make)(const TaskOptions& options, const TaskRules& rules);
};

/// All kinds, in the order in which they are listed.
std::span<const TaskKind> task_kinds();

/// What every task takes: think, system, length-limit, length-margin.
std::span<const TaskOption> common_task_options();

/// The task that a text names: "countdown", "arithmetic:digits=3,operators=+-". Throws `UsageError` for a
/// name or an option that does not exist, with the nearest one that does, and for a value out of range.
std::unique_ptr<Task> make_task(std::string_view spec);

}  // namespace fathom
