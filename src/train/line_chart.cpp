#include "train/line_chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/markup.h"
#include "base/ticks.h"

namespace fathom {
namespace {

constexpr double kWidth = 760;
constexpr double kLeft = 64;
constexpr double kRight = 16;
constexpr double kPlotHeight = 190;
constexpr double kTitleHeight = 34;
constexpr double kAxisHeight = 26;
constexpr double kLegendHeight = 30;
constexpr double kPlotWidth = kWidth - kLeft - kRight;

constexpr std::string_view kStyle =
    R"(<style>
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #667085 }
.title { font-weight: 600; fill: #1b2330 }
.grid { stroke: #eceef2 } .zero { stroke: #98a2b3 }
path { fill: none; stroke-width: 1.6; stroke-linejoin: round }
.page { fill: #ffffff }
.c0 { stroke: #2563eb } .c1 { stroke: #d9660a } .c2 { stroke: #0f8a5f } .c3 { stroke: #7c3aed }
.c4 { stroke: #be185d } .c5 { stroke: #64748b }
@media (prefers-color-scheme: dark) {
  .page { fill: #0e131b } .title { fill: #e6eaf0 } text { fill: #93a0b4 }
  .grid { stroke: #202938 } .zero { stroke: #475467 }
  .c0 { stroke: #6ea8fe } .c1 { stroke: #f7a14b } .c2 { stroke: #4cc38a } .c3 { stroke: #b392f0 }
  .c4 { stroke: #f472b6 } .c5 { stroke: #94a3b8 }
}
</style>
)";
constexpr std::size_t kColours = 6;

struct Range {
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();

  void add(double value) {
    least = std::min(least, value);
    most = std::max(most, value);
  }
  [[nodiscard]] bool is_empty() const { return least > most; }
  /// As wide as something, so that a value can be placed in it.
  [[nodiscard]] Range widened() const {
    if (is_empty()) return {0, 1};
    const double margin = most > least ? 0.06 * (most - least) : std::max(1e-6, 0.1 * std::abs(most));
    return {least - margin, most + margin};
  }
};

Range x_range(std::span<const LineChart> charts) {
  Range range;
  for (const LineChart& chart : charts)
    for (const ChartLine& line : chart.lines)
      for (const ChartPoint& point : line.points) range.add(point.x);
  return range.is_empty() ? Range{0, 1} : Range{range.least, std::max(range.most, range.least + 1)};
}

Range y_range(const LineChart& chart, const Range& x) {
  constexpr double kLeftOut = 0.1;
  Range late;
  Range all;
  for (const ChartLine& line : chart.lines)
    for (const ChartPoint& point : line.points) {
      if (!std::isfinite(point.y)) continue;
      all.add(point.y);
      if (point.x >= x.least + kLeftOut * (x.most - x.least)) late.add(point.y);
    }
  Range range = late.is_empty() ? all : late;
  if (chart.zero_line) range.add(0);
  return range.widened();
}

/// Draws one chart whose plot's upper edge is at `top`.
class ChartDrawing {
 public:
  ChartDrawing(const LineChart& chart, const Range& x, double top)
      : chart_(chart), x_(x), y_(y_range(chart, x)), top_(top) {}

  [[nodiscard]] std::string text(std::size_t index) const {
    std::string svg = fmt::format("<text class=\"title\" x=\"{}\" y=\"{}\">{}</text>\n", kLeft, top_ - 12,
                                  escape_markup(chart_.title));
    svg += fmt::format(
        "<clipPath id=\"plot{}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n", index,
        kLeft, top_, kPlotWidth, kPlotHeight);
    svg += horizontal_ticks() + vertical_ticks();
    svg += fmt::format("<g clip-path=\"url(#plot{})\">\n", index);
    for (std::size_t i = 0; i < chart_.lines.size(); ++i)
      svg += fmt::format("<path class=\"c{}\" d=\"{}\"/>\n", i % kColours, path(chart_.lines[i]));
    return svg + "</g>\n";
  }

 private:
  [[nodiscard]] double place_x(double x) const {
    return kLeft + kPlotWidth * (x - x_.least) / (x_.most - x_.least);
  }
  [[nodiscard]] double place_y(double y) const {
    // Far outside is as good as outside, and does not make numbers that a viewer cannot read.
    const double part = (y - y_.least) / (y_.most - y_.least);
    return top_ + kPlotHeight * (1 - std::clamp(part, -1.0, 2.0));
  }

  [[nodiscard]] std::string horizontal_ticks() const {
    std::string svg;
    const double step = tick_step(y_.most - y_.least, 5);
    for (const double at : ticks_between(y_.least, y_.most, step)) {
      const bool zero = chart_.zero_line && std::abs(at) < step / 2;
      svg += fmt::format(
          "<line class=\"{}\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
          "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
          zero ? "zero" : "grid", kLeft, kLeft + kPlotWidth, place_y(at), place_y(at), kLeft - 8,
          place_y(at) + 4, tick_text(at, step));
    }
    return svg;
  }

  [[nodiscard]] std::string vertical_ticks() const {
    std::string svg;
    const double step = tick_step(x_.most - x_.least, 7);
    for (const double at : ticks_between(x_.least, x_.most, step))
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", place_x(at),
                         top_ + kPlotHeight + 18, tick_text(at, step));
    return svg;
  }

  [[nodiscard]] std::string path(const ChartLine& line) const {
    constexpr double kLeastStep = 1.0;  // closer points would only make the file large
    std::string d;
    double last = -kWidth;
    for (const ChartPoint& point : line.points) {
      const double x = place_x(point.x);
      if (!std::isfinite(point.y) || (x - last < kLeastStep && &point != &line.points.back())) continue;
      d += fmt::format("{}{:.1f} {:.1f}", d.empty() ? "M" : "L", x, place_y(point.y));
      last = x;
    }
    return d;
  }

  const LineChart& chart_;
  Range x_;
  Range y_;
  double top_;
};

/// Names of the lines, from the chart that has most of them.
std::string legend(std::span<const LineChart> charts, double y) {
  const auto most = std::max_element(charts.begin(), charts.end(), [](const auto& a, const auto& b) {
    return a.lines.size() < b.lines.size();
  });
  if (most == charts.end()) return {};
  constexpr double kLetter = 6.6;  // the font's mean width: names are placed without measuring them
  std::string svg;
  double x = kLeft;
  for (std::size_t i = 0; i < most->lines.size(); ++i) {
    const std::string& name = most->lines[i].name;
    svg += fmt::format(
        "<path class=\"c{}\" style=\"stroke-width:3\" d=\"M{:.1f} {:.1f}h16\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        i % kColours, x, y - 4, x + 22, y, escape_markup(name));
    x += 44 + kLetter * static_cast<double>(name.size());
  }
  return svg;
}

}  // namespace

std::string line_charts_svg(std::span<const LineChart> charts, std::string_view x_name) {
  const double chart_height = kTitleHeight + kPlotHeight + kAxisHeight;
  const double height = kLegendHeight + chart_height * static_cast<double>(charts.size()) + 12;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n",
      kWidth, height);
  svg += kStyle;
  svg += fmt::format("<rect class=\"page\" width=\"{}\" height=\"{}\"/>\n", kWidth, height);
  svg += legend(charts, kLegendHeight - 8);
  const Range x = x_range(charts);
  for (std::size_t i = 0; i < charts.size(); ++i) {
    const double top = kLegendHeight + chart_height * static_cast<double>(i) + kTitleHeight;
    svg += ChartDrawing(charts[i], x, top).text(i);
  }
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kWidth - kRight, height - 4,
                     escape_markup(x_name));
  return svg + "</svg>\n";
}

}  // namespace fathom
