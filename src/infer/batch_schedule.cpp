#include "infer/batch_schedule.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"

namespace fathom {

BatchSchedule::BatchSchedule(int ranks, std::int64_t step_tokens) : ranks_(ranks), step_tokens_(step_tokens) {
  require(step_tokens > 0, "a step of {} tokens: it needs one at least", step_tokens);
}

void BatchSchedule::add(SequenceId id, int rank, std::int64_t prompt_tokens) {
  const auto next = std::ranges::find_if(entries_, [id](const Entry& entry) { return entry.id > id; });
  entries_.insert(next, {id, rank, prompt_tokens});
}

void BatchSchedule::remove(SequenceId id) {
  std::erase_if(entries_, [id](const Entry& entry) { return entry.id == id; });
}

std::vector<std::vector<StepPlan::Run>> BatchSchedule::next() {
  std::vector<std::vector<StepPlan::Run>> runs(static_cast<std::size_t>(ranks_));
  std::vector<std::int64_t> left(runs.size(), step_tokens_);
  for (const Entry& entry : entries_) {
    if (entry.prompt_tokens > 0) continue;
    runs[static_cast<std::size_t>(entry.rank)].push_back({entry.id, 0});
    --left[static_cast<std::size_t>(entry.rank)];
  }
  for (Entry& entry : entries_) {
    std::int64_t& budget = left[static_cast<std::size_t>(entry.rank)];
    const std::int64_t tokens = std::min(entry.prompt_tokens, budget);
    if (tokens <= 0) continue;
    runs[static_cast<std::size_t>(entry.rank)].push_back({entry.id, tokens});
    entry.prompt_tokens -= tokens;
    budget -= tokens;
  }
  return runs;
}

std::vector<std::int64_t> tokens_of_ranks(const std::vector<std::vector<StepPlan::Run>>& runs) {
  std::vector<std::int64_t> tokens;
  for (const std::vector<StepPlan::Run>& of_rank : runs) {
    std::int64_t sum = 0;
    for (const StepPlan::Run& run : of_rank) sum += std::max<std::int64_t>(run.prompt_tokens, 1);
    tokens.push_back(sum);
  }
  return tokens;
}

}  // namespace fathom
