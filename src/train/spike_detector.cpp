#include "train/spike_detector.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace fathom {
namespace {

/// Of at least one value; the upper one of the two in the middle.
double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void RunningSpread::add(double value) {
  window_.push_back(value);
  if (window_.size() > kWindow) window_.pop_front();
}

std::optional<RunningSpread::Level> RunningSpread::level() const {
  constexpr double kDeviationOfNormal = 1.4826;  // over the median distance from the median
  if (window_.size() < kLeast) return std::nullopt;
  Level level{.median = median({window_.begin(), window_.end()})};
  std::vector<double> distances;
  for (const double value : window_) distances.push_back(std::abs(value - level.median));
  level.spread = kDeviationOfNormal * median(std::move(distances));
  return level;
}

void SpikeDetector::add(std::int64_t step, double loss, double gradient_norm) {
  // A loss within some percent and a norm within half of what they were are no spike, be they ever so steady.
  constexpr double kLeastSpread = 0.005;  // as a part of the loss
  constexpr double kLeastLogSpread = 0.05;
  if (threshold_ <= 0) return;
  last_step_ = step;
  add(step, loss, kLeastSpread * std::abs(loss_.normal.level().value_or(RunningSpread::Level{}).median),
      loss_);
  add(step, std::log(gradient_norm), kLeastLogSpread, log_norm_);
}

void SpikeDetector::add(std::int64_t step, double value, double least_spread, Figure& figure) const {
  if (!std::isfinite(value)) return;
  const std::optional<RunningSpread::Level> level = figure.normal.level();
  figure.value = value;
  if (level && value > level->median + threshold_ * std::max(level->spread, least_spread)) {
    figure.level = level->median;
    if (!figure.rising_since) figure.rising_since = step;
  } else {
    figure.rising_since.reset();
    figure.normal.add(value);
  }
}

std::optional<std::int64_t> SpikeDetector::rising_since() const {
  if (loss_.rising_since && log_norm_.rising_since)
    return std::min(*loss_.rising_since, *log_norm_.rising_since);
  return loss_.rising_since ? loss_.rising_since : log_norm_.rising_since;
}

std::optional<SpikeDetector::Spike> SpikeDetector::spike() const {
  const auto lasts = [&](const Figure& figure) {
    return figure.rising_since && last_step_ - *figure.rising_since + 1 >= steps_;
  };
  if (!lasts(loss_) && !lasts(log_norm_)) return std::nullopt;
  Spike spike;
  spike.first = *rising_since();
  spike.what =
      lasts(loss_)
          ? fmt::format("the loss is {:.4g}, the median of the steps before {:.4g}", loss_.value, loss_.level)
          : fmt::format("the gradient norm is {:.3g}, the median of the steps before {:.3g}",
                        std::exp(log_norm_.value), std::exp(log_norm_.level));
  return spike;
}

}  // namespace fathom
