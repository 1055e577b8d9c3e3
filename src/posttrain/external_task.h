#pragma once

#include <memory>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// A task that another program judges: lines of "question" (or "problem", "prompt"), "answer" (which may be
/// empty) and "solution" where there is one. The program gets a JSON object a line with "prompt", "answer"
/// (what the model said) and "reference", and answers each with a number from 0 to 1, or with an object:
/// "score", and where it likes "extracted" (equal for equal answers, for votes) and "explanation". It stays
/// for all answers; one that fails is started anew once for an answer, before that is an error. One answer at
/// a time is judged.
std::unique_ptr<Task> make_external_task(const TaskOptions& options, const TaskRules& rules);
extern const std::vector<TaskOption> kExternalOptions;

}  // namespace fathom
