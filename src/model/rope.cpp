#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace fathom {
namespace {

/// The pair that turns `rotations` times within the original context (YaRN, section 3.2).
double correction_pair(double rotations, const ModelConfig& config, const YarnScaling& yarn) {
  const auto dim = static_cast<double>(config.qk_rope_head_dim);
  const auto context = static_cast<double>(yarn.original_max_position_embeddings);
  return dim * std::log(context / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(config.rope_theta));
}

}  // namespace

// Every step is rounded to f32 as `transformers` (and the code the released models were trained with) does:
// at position 100,000 an angle moves by 0.006 for one unit in the last place of its frequency.
std::vector<double> rope_frequencies(const ModelConfig& config) {
  const std::int64_t half = config.qk_rope_head_dim / 2;
  std::vector<double> frequencies(static_cast<std::size_t>(half));
  double low = 0.0;
  double high = 0.0;
  if (config.rope_scaling) {
    const YarnScaling& yarn = *config.rope_scaling;
    low = std::max(std::floor(correction_pair(yarn.beta_fast, config, yarn)), 0.0);
    high = std::min(std::ceil(correction_pair(yarn.beta_slow, config, yarn)),
                    static_cast<double>(config.qk_rope_head_dim - 1));
    if (low == high) high += 0.001;
  }
  for (std::int64_t i = 0; i < half; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.qk_rope_head_dim);
    const auto wavelength = static_cast<float>(std::pow(config.rope_theta, static_cast<double>(exponent)));
    float frequency = 1.0F / wavelength;
    if (config.rope_scaling) {
      const float interpolated = 1.0F / (static_cast<float>(config.rope_scaling->factor) * wavelength);
      const float ramp = std::clamp(
          (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0F, 1.0F);
      const float kept = 1.0F - ramp;
      frequency = interpolated * (1.0F - kept) + frequency * kept;
    }
    frequencies[static_cast<std::size_t>(i)] = static_cast<double>(frequency);
  }
  return frequencies;
}

RopeTable::RopeTable(const ModelConfig& config, std::int64_t positions)
    : half_(config.qk_rope_head_dim / 2), positions_(positions), interleaved_(config.rope_interleave) {
  const std::vector<double> frequencies = rope_frequencies(config);
  const double factor = config.rope_scaling ? config.rope_scaling->cos_sin_factor() : 1.0;
  cos_.reserve(static_cast<std::size_t>(positions * half_));
  sin_.reserve(static_cast<std::size_t>(positions * half_));
  for (std::int64_t position = 0; position < positions; ++position) {
    for (const double frequency : frequencies) {
      const auto angle = static_cast<double>(static_cast<float>(position) * static_cast<float>(frequency));
      cos_.push_back(static_cast<float>(std::cos(angle) * factor));
      sin_.push_back(static_cast<float>(std::sin(angle) * factor));
    }
  }
}

kernels::RopeAngles RopeTable::angles() const {
  return {cos_.data(), sin_.data(), dim(),
          interleaved_ ? kernels::RopePairs::neighbours : kernels::RopePairs::halves};
}

}  // namespace fathom
