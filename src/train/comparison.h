#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "train/line_chart.h"
#include "train/metrics.h"

namespace fathom {

/// What a run left in its metrics.jsonl, as far as runs are compared by it.
struct RunRecord {
  std::string name;
  std::vector<ChartPoint> loss;              // (step, main loss) of every step
  std::vector<ChartPoint> max_vio;           // of the batch, mean over layers; empty without experts
  std::vector<ChartPoint> held_out;          // (step, held-out loss)
  std::vector<ChartPoint> draft_acceptance;  // of the first MTP module, on held-out text
  StepMetrics last_step;
  std::optional<EvalMetrics> last_evaluation;
  std::optional<double> tokens_per_second;  // the median step's, where the log has it

  /// The mean training loss of the last `steps` steps (of all, where there are fewer).
  [[nodiscard]] double recent_loss(std::int64_t steps) const;
};

/// Reads RUN/metrics.jsonl. Throws `Error` when the folder holds none, or one without a step.
RunRecord read_run(const std::filesystem::path& run, std::string name);

/// Each point the mean of the `2·reach + 1` around it, fewer at the ends.
std::vector<ChartPoint> smoothed(std::span<const ChartPoint> points, std::int64_t reach);

/// Relative difference of two curves in percent, 100 · (a / b − 1), at the x that both have.
std::vector<ChartPoint> relative_difference(std::span<const ChartPoint> a, std::span<const ChartPoint> b);

/// Charts of runs against the first of them: loss, its relative difference to the first run's, MaxVio,
/// held-out loss, draft acceptance; those that the runs have.
std::vector<LineChart> comparison_charts(std::span<const RunRecord> runs);

/// A row for each run: steps, tokens, losses, difference to the first run in percent, MaxVio, acceptance,
/// speed. Losses of training are means of the last twentieth of the steps. Where a run has several sources, a
/// second table has the held-out loss of each, with the difference to the first run's.
std::string comparison_table(std::span<const RunRecord> runs);
/// The same for programs.
OrderedJson comparison_json(std::span<const RunRecord> runs);

}  // namespace fathom
