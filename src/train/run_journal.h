#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "model/config.h"
#include "train/data_manifest.h"
#include "train/metrics.h"
#include "train/report.h"
#include "train/run_folder.h"
#include "train/tensorboard.h"
#include "train/training_config.h"
#include "train/training_plan.h"

namespace fathom {

/// What a run tells of itself: the log of its metrics, TensorBoard's, the report, and the line of progress.
/// Of several ranks that train together, the first one has it.
class RunJournal {
 public:
  /// Goes on with the record of a run as it was after `step` steps. Keeps references.
  /// @param on_step  called with each of those steps
  RunJournal(const RunFolder& folder, const ModelConfig& config, const TrainingConfig& training,
             const TrainingPlan& plan, const DataManifest& manifest,
             const std::vector<std::string>& moe_layers, std::int64_t step,
             const std::function<void(const StepMetrics&)>& on_step);

  void add(const StepMetrics& metrics);
  void add(const EvalMetrics& metrics);
  /// Puts a needle map in the place of the last one.
  void set_needle_picture(std::string picture);
  /// Brings the report up to date.
  void write_report() const;
  /// The last words.
  void finish();

  [[nodiscard]] const std::optional<EvalMetrics>& last_evaluation() const { return last_eval_; }

 private:
  void read(const std::function<void(const StepMetrics&)>& on_step);
  void show(const StepMetrics& metrics);
  [[nodiscard]] std::string progress_text() const;

  const RunFolder& folder_;
  const TrainingConfig& training_;
  const BatchPlan& batches_;
  Report report_;
  MetricsLog log_;
  TensorboardLog curves_;
  ProgressLine progress_;
  std::optional<StepMetrics> last_step_;
  double speed_ = 0;  // tokens per second
  std::optional<EvalMetrics> last_eval_;
};

}  // namespace fathom
