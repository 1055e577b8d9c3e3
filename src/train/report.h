#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "train/metrics.h"

namespace fathom {

/// Points of a curve, at most a fixed number of them: when there are too many, neighbours are averaged, so
/// that a run of any length draws and costs the same.
class Curve {
 public:
  struct Point {
    double x = 0;
    double y = 0;
  };

  void add(double x, double y);
  /// In order, the last one possibly of fewer samples than the others.
  [[nodiscard]] std::vector<Point> points() const;

 private:
  static constexpr std::size_t kMostPoints = 800;

  std::vector<Point> whole_;  // means of `stride_` samples each
  std::int64_t stride_ = 1;
  Point sum_;  // of the samples after the last whole point
  std::int64_t pending_ = 0;
};

/// RUN/report.html: one page that shows a run and needs no network. Bounded in memory and size, however long
/// the run; fed as the run goes on, or from its metrics when it resumes.
class Report {
 public:
  /// Facts shown above the curves, as {"Parameters", "12,345"}.
  using Facts = std::vector<std::pair<std::string, std::string>>;

  /// @param title        the run's name
  /// @param moe_layers   names of the MoE layers, in the order of the metrics' loads
  Report(std::string title, Facts facts, std::vector<std::string> moe_layers, std::int64_t total_steps);

  void add(const StepMetrics& metrics);
  void add(const EvalMetrics& metrics);
  /// The latest needle map (train/needle_picture.h), shown as it is.
  void set_needle_picture(std::string svg) { needle_picture_ = std::move(svg); }
  /// Replaces `file` atomically.
  void write(const std::filesystem::path& file) const;

 private:
  struct HeatMap {
    std::int64_t step = 0;
    std::vector<std::vector<double>> load;
  };

  std::string title_;
  Facts facts_;
  std::vector<std::string> moe_layers_;
  std::int64_t total_steps_;
  Curve loss_, mtp_loss_, learning_rate_, gradient_norm_, max_vio_, tokens_per_second_;
  Curve needle_accuracy_;
  std::string needle_picture_;
  std::vector<Curve> draft_acceptance_, sampled_draft_acceptance_;  // [MTP modules]
  Curve batch_size_, mtp_loss_factor_, router_bias_update_rate_;
  Curve held_out_loss_, held_out_averaged_loss_, bits_per_byte_, held_out_max_vio_, held_out_batch_max_vio_;
  std::vector<std::pair<std::string, Curve>> source_loss_;  // by the sources' names
  std::vector<Curve> layer_max_vio_, held_out_layer_max_vio_;
  std::vector<HeatMap> heat_maps_;
  std::int64_t heat_map_stride_ = 1;  // one of this many evaluations is kept, and the latest
  std::int64_t evaluations_ = 0;
  StepMetrics last_step_;
  EvalMetrics last_eval_;
};

}  // namespace fathom
