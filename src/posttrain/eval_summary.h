#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "posttrain/eval_record.h"
#include "posttrain/eval_statistics.h"

namespace fathom {

/// Figures of one task's answers.
struct TaskSummary {
  std::string task;

  struct Greedy {
    std::int64_t problems = 0;
    Estimate accuracy;  // Wilson's interval
    double format = 0;
    double tokens = 0;     // mean of an answer
    double truncated = 0;  // part that ended at the limit of tokens
  };
  std::optional<Greedy> greedy;

  struct Sampled {
    std::int64_t problems = 0;
    std::int64_t samples = 0;  // of each problem: of those with fewest
    struct AtK {
      std::int64_t k = 0;
      Estimate pass;  // bootstrap over problems, as all of these
      Estimate majority;
    };
    std::vector<AtK> at;  // k 1, 2, 4, ... and all samples
    double format = 0;
    double tokens = 0;
    double truncated = 0;
  };
  std::optional<Sampled> sampled;

  /// Accuracy of one answer: sampled, where there are samples, else greedy.
  [[nodiscard]] Estimate pass_at_1() const { return sampled ? sampled->at.front().pass : greedy->accuracy; }
  /// Mean tokens of the same answers.
  [[nodiscard]] double tokens() const { return sampled ? sampled->tokens : greedy->tokens; }
};

/// An answer counts as right where its accuracy is 1. Of each problem as many samples count as the problem
/// with fewest has: an evaluation that was ended early is biased towards none.
std::vector<TaskSummary> summarise(std::span<const EvalSample> samples);

OrderedJson summary_json(std::span<const TaskSummary> tasks);
/// A row for each task and kind of answers.
std::string summary_table(std::span<const TaskSummary> tasks);

/// How two models differ on the problems that both answered.
struct PairedDifference {
  std::string task;
  bool is_greedy = true;
  std::int64_t problems = 0;
  Estimate difference;  // of accuracy, second minus first; bootstrap over problems
  struct Change {
    const EvalSample* before;
    const EvalSample* after;
  };
  std::vector<Change> gained;  // the greedy or first answers that became right
  std::vector<Change> lost;
};
/// @return of each task and kind of answers that both have; points into both
std::vector<PairedDifference> paired_differences(const EvalRecord& first, const EvalRecord& second);

}  // namespace fathom
