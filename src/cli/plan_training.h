#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "plan/training_estimate.h"

namespace fathom::cli {

/// Options that say what is trained, and on what.
struct PlanTrainingOptions {
  std::string config = "deepseek-v3";
  std::string hardware = "h800";
  std::string precision;
  std::int64_t devices = 2048;
  std::int64_t sequence_length = 4096;
  std::int64_t batch = 15360;
  double tokens = 14.8e12;
  std::int64_t least_tokens = 4096;
  double gemm_efficiency = 0;  // 0: the hardware file's
  bool json = false;
};

void add_plan_training_options(CLI::App& command, PlanTrainingOptions& options);

/// Reads config and hardware. Without a precision: FP8 where the hardware has it, else BF16.
TrainingTask training_task(const PlanTrainingOptions& options);
Hardware training_hardware(const PlanTrainingOptions& options);

}  // namespace fathom::cli
