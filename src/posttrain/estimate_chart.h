#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "posttrain/eval_statistics.h"

namespace fathom {

/// A part from 0 to 1 with its interval, as a chart shows it.
struct ChartEstimate {
  std::string group;  // rows of a group stand together under its name
  std::string name;   // has the same colour in all groups
  Estimate estimate;
  double length = 0;  // mean tokens of an answer, for `length_chart_svg`
};

/// Dots with whiskers, in rows of groups, on one axis from 0 to 100 %. SVG that needs nothing else.
std::string interval_chart_svg(std::span<const ChartEstimate> estimates);

/// Accuracy against mean length of answers: a dot with a whisker for each estimate, those of a group joined
/// by a line in order of their lengths. SVG that needs nothing else.
std::string length_chart_svg(std::span<const ChartEstimate> estimates);

}  // namespace fathom
