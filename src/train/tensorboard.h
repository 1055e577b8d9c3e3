#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "train/event_file.h"
#include "train/metrics.h"

namespace fathom {

/// The figures of a record as TensorBoard's curves: every number of its line in metrics.jsonl but the step,
/// which is the axis, and the expert loads, which report.html draws as a map. Those of a step are
/// `train/NAME`, those of a measurement `held_out/NAME`; MTP modules count from 1, layers and sources go by
/// name: `max_vio/layer 3`, `held_out_max_vio/layer 3`, `held_out_loss/web`.
/// @param moe_layers  names of the layers of `StepMetrics::layer_max_vio`
std::vector<Scalar> scalars_of(const StepMetrics& metrics, std::span<const std::string> moe_layers);
std::vector<Scalar> scalars_of(const EvalMetrics& metrics, std::span<const std::string> moe_layers);

/// The curves of a run for TensorBoard, in event files beside metrics.jsonl. Each start of a run
/// writes a file of its own; of earlier ones, what a resumed run does again is cut off first.
class TensorboardLog {
 public:
  /// @param moe_layers  names of the layers of `StepMetrics::layer_max_vio`
  /// @param last_step   of what is kept
  TensorboardLog(const std::filesystem::path& folder, std::vector<std::string> moe_layers,
                 std::int64_t last_step);

  void append(const StepMetrics& metrics);
  void append(const EvalMetrics& metrics);

 private:
  std::vector<std::string> moe_layers_;
  EventFile file_;
};

}  // namespace fathom
