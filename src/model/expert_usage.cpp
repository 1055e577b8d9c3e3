#include "model/expert_usage.h"

#include <cmath>

#include "base/error.h"

namespace fathom {

ExpertUsage::ExpertUsage(std::span<const std::int64_t> experts, double half_life)
    : decay_(std::exp2(-1 / half_life)) {
  require(half_life > 0, "a half-life of {} tokens", half_life);
  for (const std::int64_t count : experts)
    groups_.push_back({std::vector<double>(static_cast<std::size_t>(count))});
}

void ExpertUsage::count(std::size_t group, std::int64_t tokens, std::span<const std::int64_t> experts,
                        std::span<const std::int64_t> rows) {
  if (tokens <= 0) return;
  Group& of = groups_.at(group);
  // The pass's tokens came one after another; where in it an expert's own were is not looked at, so each of
  // its rows adds what they add on average: unit · (1 + decay + decay² + ...) / tokens.
  const double shrunk = std::pow(decay_, static_cast<double>(tokens));
  of.unit /= std::max(shrunk, 1e-200);
  const double mean = of.unit * (1 - shrunk) / ((1 - decay_) * static_cast<double>(tokens));
  for (std::size_t i = 0; i < experts.size(); ++i)
    of.weights.at(static_cast<std::size_t>(experts[i])) += mean * static_cast<double>(rows[i]);
  constexpr double kLargestUnit = 1e100;
  if (of.unit > kLargestUnit) {
    for (double& weight : of.weights) weight /= of.unit;
    of.unit = 1;
  }
  of.scale = (1 - decay_) / of.unit;
}

}  // namespace fathom
