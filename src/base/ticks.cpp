#include "base/ticks.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace fathom {

double tick_step(double span, int wanted) {
  const double rough = span / wanted;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough) return factor * power;
  return 10.0 * power;
}

std::vector<double> ticks_between(double least, double most, double step) {
  constexpr double kRounding = 1e-9;  // of a step: ends that are multiples count as such
  std::vector<double> ticks;
  for (double i = std::ceil(least / step - kRounding); i * step <= most + kRounding * step; ++i)
    ticks.push_back(i * step);
  return ticks;
}

std::string tick_text(double value, double step) {
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 9);
  const double shown = std::abs(value) < step / 2 ? 0.0 : value;
  return fmt::format("{:.{}f}", shown, digits);
}

}  // namespace fathom
