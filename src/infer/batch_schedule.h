#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "infer/step_plan.h"

namespace fathom {

/// Which tokens each rank of a group takes in the next step: one for every sequence that is past its prompt,
/// and, as far as the budget of the step goes, prompts in the order of their ids, cut where it ends. So
/// a long prompt delays nobody by more than a step.
class BatchSchedule {
 public:
  /// @param step_tokens  of each rank in one step; single tokens are never left out for it
  BatchSchedule(int ranks, std::int64_t step_tokens);

  /// @param rank           of the group
  /// @param prompt_tokens  that are not in the cache yet, or not any more; 0: all are
  void add(SequenceId id, int rank, std::int64_t prompt_tokens);
  void remove(SequenceId id);
  [[nodiscard]] bool empty() const { return entries_.empty(); }

  /// The runs of the next step, [ranks]; its prompt tokens count as done.
  std::vector<std::vector<StepPlan::Run>> next();

 private:
  struct Entry {
    SequenceId id;
    int rank;
    std::int64_t prompt_tokens;  // left
  };

  int ranks_;
  std::int64_t step_tokens_;
  std::deque<Entry> entries_;  // by id: in the order in which they came
};

/// Tokens of each rank's runs, [ranks].
std::vector<std::int64_t> tokens_of_ranks(const std::vector<std::vector<StepPlan::Run>>& runs);

}  // namespace fathom
