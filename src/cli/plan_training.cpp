#include "cli/plan_training.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "plan/named_file.h"

namespace fathom::cli {

void add_plan_training_options(CLI::App& command, PlanTrainingOptions& options) {
  command
      .add_option("--config", options.config,
                  "Model: a config.json, a model folder, or the name of a built-in config")
      ->capture_default_str();
  command
      .add_option("--hardware", options.hardware,
                  "Hardware: a JSON file, or h800, h100, h200, a100, b200, cpu")
      ->capture_default_str();
  constexpr std::int64_t kMostDevices = 10'000'000;
  command.add_option("--gpus", options.devices, "Devices in all")
      ->check(CLI::Range(std::int64_t{1}, kMostDevices))
      ->capture_default_str();
  constexpr std::int64_t kMostBatch = std::int64_t{1} << 31U;
  command.add_option("--batch", options.batch, "Sequences of one step")
      ->check(CLI::Range(std::int64_t{1}, kMostBatch))
      ->capture_default_str();
  constexpr std::int64_t kMostLength = std::int64_t{1} << 24U;
  command.add_option("--sequence-length", options.sequence_length, "Tokens of a sequence")
      ->check(CLI::Range(std::int64_t{1}, kMostLength))
      ->capture_default_str();
  constexpr double kMostTokens = 1e18;
  command.add_option("--tokens", options.tokens, "Tokens to train on in all, as 14.8e12")
      ->check(CLI::Range(1.0, kMostTokens));
  command
      .add_option("--precision", options.precision,
                  "f32, bf16 or fp8 (default: fp8 where the hardware has it, else bf16)")
      ->check(CLI::IsMember({"f32", "bf16", "fp8"}));
  command
      .add_option("--gemm-efficiency", options.gemm_efficiency,
                  "Part of the nominal speed that linear maps reach (default: the hardware file's)")
      ->check(CLI::Range(0.001, 1.0));
  command
      .add_option("--least-tokens", options.least_tokens,
                  "Search: cut tokens (tp, cp) no finer than so many of a micro-batch for a device")
      ->check(CLI::Range(std::int64_t{1}, kMostLength))
      ->capture_default_str();
  command.add_flag("--json", options.json, "Print JSON");
}

Hardware training_hardware(const PlanTrainingOptions& options) {
  Hardware hardware = load_hardware(options.hardware);
  if (options.gemm_efficiency > 0) hardware.efficiency.gemm = options.gemm_efficiency;
  return hardware;
}

TrainingTask training_task(const PlanTrainingOptions& options) {
  const NamedText file = read_named_text("models", options.config);
  TrainingTask task;
  task.model = model_config_from_json(parse_json(file.text, file.where), file.where);
  task.sequence_length = options.sequence_length;
  task.batch = options.batch;
  task.tokens = options.tokens;
  const bool has_fp8 = load_hardware(options.hardware).fp8_flops > 0;
  const std::string precision = options.precision.empty() ? (has_fp8 ? "fp8" : "bf16") : options.precision;
  task.precision = precision == "f32"    ? Precision::f32
                   : precision == "bf16" ? Precision::bf16
                                         : Precision::fp8;
  return task;
}

}  // namespace fathom::cli
