#include "train/tensorboard.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace fathom {
namespace {

const std::filesystem::path& truncated(const std::filesystem::path& folder, std::int64_t last_step) {
  truncate_event_files(folder, last_step);
  return folder;
}

void add(std::vector<Scalar>& scalars, std::string tag, const std::optional<double>& value) {
  if (value) scalars.push_back({std::move(tag), *value});
}

}  // namespace

TensorboardLog::TensorboardLog(const std::filesystem::path& folder, std::vector<std::string> moe_layers,
                               std::int64_t last_step)
    : moe_layers_(std::move(moe_layers)), file_(truncated(folder, last_step), last_step + 1) {}

void TensorboardLog::append(const StepMetrics& metrics) {
  std::vector<Scalar> scalars = {{"train/loss", metrics.loss}};
  add(scalars, "train/mtp_loss", metrics.mtp_loss);
  scalars.push_back({"train/balance_loss", metrics.balance_loss});
  scalars.push_back({"train/learning_rate", metrics.learning_rate});
  scalars.push_back({"train/gradient_norm", metrics.gradient_norm});
  add(scalars, "train/max_vio", metrics.max_vio);
  scalars.push_back({"train/tokens", static_cast<double>(metrics.tokens)});
  scalars.push_back({"train/tokens_per_second", metrics.tokens_per_second});
  scalars.push_back({"train/checkpoint_stall_seconds", metrics.checkpoint_stall_seconds});
  for (std::size_t i = 0; i < std::min(moe_layers_.size(), metrics.layer_max_vio.size()); ++i)
    scalars.push_back({fmt::format("max_vio/{}", moe_layers_[i]), metrics.layer_max_vio[i]});
  file_.append(metrics.step, scalars);
}

void TensorboardLog::append(const EvalMetrics& metrics) {
  std::vector<Scalar> scalars = {{"held_out/loss", metrics.loss}};
  add(scalars, "held_out/averaged_loss", metrics.averaged_loss);
  add(scalars, "held_out/mtp_loss", metrics.mtp_loss);
  scalars.push_back({"held_out/bits_per_byte", metrics.bits_per_byte});
  add(scalars, "held_out/max_vio", metrics.max_vio);
  for (std::size_t i = 0; i < metrics.draft_acceptance.size(); ++i)
    scalars.push_back({fmt::format("held_out/draft_acceptance_{}", i + 1), metrics.draft_acceptance[i]});
  file_.append(metrics.step, scalars);
}

}  // namespace fathom
