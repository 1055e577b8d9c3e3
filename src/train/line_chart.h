#pragma once

#include <span>
#include <string>
#include <vector>

namespace fathom {

struct ChartPoint {
  double x = 0;
  double y = 0;
};

struct ChartLine {
  std::string name;
  std::vector<ChartPoint> points;  // x ascending; points whose y is not finite are left out
};

/// One set of axes. Lines of the same place in several charts have the same colour and stand for the same
/// thing, so that the picture needs one legend.
struct LineChart {
  std::string title;
  std::vector<ChartLine> lines;
  bool zero_line = false;  // y = 0 is in the picture, and drawn
};

/// Charts below one another as an SVG picture that needs nothing else and suits light and dark pages. The
/// y-axis of a chart covers what remains when the first tenth of its x-range is left out, where losses fall
/// too fast to see anything else beside them.
/// @param x_name  what all x-axes measure, as "step"
std::string line_charts_svg(std::span<const LineChart> charts, std::string_view x_name);

}  // namespace fathom
