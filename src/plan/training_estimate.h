#pragma once

#include <optional>

#include "plan/expert_traffic.h"
#include "plan/rank_memory.h"
#include "plan/step_time.h"
#include "plan/training_cost.h"

namespace fathom {

/// What training costs in one layout.
struct TrainingEstimate {
  TrainingLayout layout;
  PipelineShape shape;
  RankMemory memory;
  double memory_limit = 0;  // what a program can have of a device
  ExpertTraffic traffic;    // of one token in one MoE layer
  ChunkSeconds chunk;
  PipelineTimes times;
  UpdateSeconds update;
  double pipeline_seconds = 0;  // the simulated makespan
  double bubble_seconds = 0;    // of it, the largest idle time of a rank
  double idle_fraction = 0;     // of all ranks' time in the pipeline

  [[nodiscard]] bool fits() const { return memory.total() <= memory_limit; }
  [[nodiscard]] double step_seconds() const { return pipeline_seconds + update.total(); }
};

/// What follows from a step's time for the whole of training.
struct TrainingBill {
  double tokens_per_second = 0;  // of all devices
  double mfu = 0;                // of BF16's operations per second, the main model's counted, as published
  double hours_per_trillion = 0;
  double device_hours = 0;
  double days = 0;
  double price = 0;
};
TrainingBill training_bill(const TrainingTask& task, const TrainingEstimate& estimate,
                           const Hardware& hardware);

/// Estimates layouts of one task on one kind of hardware. What does not depend on the layout is computed
/// once.
class TrainingEstimator {
 public:
  /// Throws `Error` where the hardware does not have the task's precision.
  TrainingEstimator(const TrainingTask& task, const Hardware& hardware);

  /// All but what the pipeline's simulation gives, and the time that no schedule goes below: a rank's own
  /// work. Throws `Error` where the layout cannot be (`pipeline_of`, more stages than pieces of the model).
  [[nodiscard]] TrainingEstimate outline(const TrainingLayout& layout) const;
  /// Seconds of a step that the outline's ranks compute, at least.
  [[nodiscard]] double least_seconds(const TrainingEstimate& outline) const;
  /// Runs the pipeline of an outline through the simulator.
  void simulate(TrainingEstimate& outline) const;
  /// Both.
  [[nodiscard]] TrainingEstimate estimate(const TrainingLayout& layout) const;

  /// Of linear maps. Stages stay where they are.
  void set_gemm_efficiency(double efficiency) { hardware_.efficiency.gemm = efficiency; }

  [[nodiscard]] const TrainingTask& task() const { return task_; }
  [[nodiscard]] const Hardware& hardware() const { return hardware_; }

 private:
  TrainingTask task_;
  Hardware hardware_;
  std::vector<ModelUnit> units_;
  std::vector<std::vector<std::size_t>> splits_;  // [stages] where they begin
};

/// The efficiency of linear maps with which training in that layout takes so many device hours per trillion
/// tokens: published hours calibrate it. Nothing where no efficiency of 0.001 to 1 does.
std::optional<double> calibrated_gemm_efficiency(TrainingEstimator estimator, const TrainingLayout& layout,
                                                 double hours_per_trillion);

}  // namespace fathom
