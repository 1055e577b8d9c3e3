#pragma once

#include <string>
#include <vector>

namespace fathom {

/// The distance of an axis's ticks: 1, 2 or 5 times a power of ten, so that some `wanted` of them make `span`
/// (positive).
double tick_step(double span, int wanted);

/// Multiples of `step` from `least` to `most`, both included where they are some.
std::vector<double> ticks_between(double least, double most, double step);

/// `value` with as many digits as its neighbours, `step` away, need.
std::string tick_text(double value, double step);

}  // namespace fathom
