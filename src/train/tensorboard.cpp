#include "train/tensorboard.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "train/metrics_fields.h"

namespace fathom {
namespace {

const std::filesystem::path& truncated(const std::filesystem::path& folder, std::int64_t last_step) {
  truncate_event_files(folder, last_step);
  return folder;
}

/// Collects the curves of a record's fields.
class Curves {
 public:
  /// @param group  of the record's single figures; figures per layer have their own
  Curves(std::string_view group, std::span<const std::string> moe_layers)
      : group_(group), moe_layers_(moe_layers) {}

  void operator()(const MetricsField& field, std::int64_t value) {
    if (field.name != "step") add(field.name, static_cast<double>(value));
  }
  void operator()(const MetricsField& field, double value) { add(field.name, value); }
  void operator()(const MetricsField& field, const std::optional<double>& value) {
    if (value) add(field.name, *value);
  }
  void operator()(const MetricsField& field, const std::vector<double>& values) {
    const bool per_layer = field.entries == MetricsField::Entries::layers;
    const std::size_t count = per_layer ? std::min(values.size(), moe_layers_.size()) : values.size();
    for (std::size_t i = 0; i < count; ++i) {
      if (per_layer) {
        scalars_.push_back({fmt::format("{}/{}", layer_group(field.name), moe_layers_[i]), values[i]});
      } else {
        add(fmt::format("{}_{}", field.name, i + 1), values[i]);
      }
    }
  }
  void operator()(const MetricsField& /*field*/, const std::vector<SourceLoss>& sources) {
    for (const SourceLoss& one : sources)
      scalars_.push_back({fmt::format("{}_loss/{}", group_, one.source), one.loss});
  }
  void operator()(const MetricsField& /*field*/, const std::vector<std::vector<double>>& /*maps*/) {}

  [[nodiscard]] std::vector<Scalar> take() { return std::move(scalars_); }

 private:
  void add(std::string_view name, double value) {
    const std::string prefix = fmt::format("{}_", group_);
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
    scalars_.push_back({fmt::format("{}/{}", group_, name), value});
  }
  /// "max_vio" of "layer_max_vio".
  static std::string layer_group(std::string_view name) {
    constexpr std::string_view kLayer = "layer_";
    std::string group(name);
    if (const std::size_t at = group.find(kLayer); at != std::string::npos) group.erase(at, kLayer.size());
    return group;
  }

  std::string_view group_;
  std::span<const std::string> moe_layers_;
  std::vector<Scalar> scalars_;
};

template <typename Metrics>
std::vector<Scalar> curves_of(const Metrics& metrics, std::string_view group,
                              std::span<const std::string> moe_layers) {
  Curves curves(group, moe_layers);
  visit_fields(metrics, curves);
  return curves.take();
}

}  // namespace

std::vector<Scalar> scalars_of(const StepMetrics& metrics, std::span<const std::string> moe_layers) {
  return curves_of(metrics, "train", moe_layers);
}

std::vector<Scalar> scalars_of(const EvalMetrics& metrics, std::span<const std::string> moe_layers) {
  return curves_of(metrics, "held_out", moe_layers);
}

TensorboardLog::TensorboardLog(const std::filesystem::path& folder, std::vector<std::string> moe_layers,
                               std::int64_t last_step)
    : moe_layers_(std::move(moe_layers)), file_(truncated(folder, last_step), last_step + 1) {}

void TensorboardLog::append(const StepMetrics& metrics) {
  file_.append(metrics.step, scalars_of(metrics, moe_layers_));
}

void TensorboardLog::append(const EvalMetrics& metrics) {
  file_.append(metrics.step, scalars_of(metrics, moe_layers_));
}

}  // namespace fathom
