#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "posttrain/answer_engine.h"
#include "posttrain/eval_record.h"
#include "posttrain/prompt_format.h"
#include "posttrain/task.h"

namespace fathom {

/// How much is asked.
struct EvalPlan {
  std::int64_t count = 0;    // problems of each task; 0: all of a task in files
  std::int64_t samples = 0;  // of each problem, beside
  bool greedy = true;        // its greedy answer
};

struct EvalProgress {
  std::int64_t done = 0;  // of answers, those that were there already included
  std::int64_t all = 0;
  std::int64_t new_answers = 0;
  std::int64_t new_tokens = 0;
  std::int64_t right = 0;  // of the new ones
};

/// Problems of a task that are asked. Throws `UsageError` where a task without end is asked for all.
std::int64_t eval_problems(const Task& task, Split split, std::int64_t count);

/// Asks a model what the plan wants and the log lacks, and adds its answers with their rewards to the log.
/// Sample i of a problem has random numbers of its own, whatever else is asked.
/// @param goes_on  asked between answers
void run_eval(AnswerEngine& engine, const Tokenizer& tokenizer, const PromptFormat& format,
              const std::vector<std::unique_ptr<Task>>& tasks, const EvalSettings& settings,
              const EvalPlan& plan, EvalLog& log, const std::function<bool(const EvalProgress&)>& goes_on);

}  // namespace fathom
