#pragma once

#include <cstdint>
#include <filesystem>

#include "train/event_file.h"
#include "train/metrics.h"

namespace fathom {

/// The curves of a run for TensorBoard, in event files beside metrics.jsonl: `train/...` per step,
/// `max_vio/...` per step and layer, `held_out/...` per evaluation. Each start of a run writes a file of its
/// own; of earlier ones, what a resumed run does again is cut off first.
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
