#include "posttrain/estimate_chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>

#include "base/markup.h"
#include "base/ticks.h"

namespace fathom {
namespace {

constexpr std::size_t kDotColours = 6;
constexpr double kChartWidth = 760;
constexpr double kChartRight = 24;

constexpr std::string_view kChartStyle =
    R"(<style>
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #667085 }
.group { font-weight: 600; fill: #1b2330 } .grid { stroke: #e2e5ea } .join { stroke: #98a2b3; fill: none }
.whisker { stroke-width: 2; stroke-linecap: round }
.c0 { stroke: #2563eb; fill: #2563eb } .c1 { stroke: #d9660a; fill: #d9660a } .c2 { stroke: #0f8a5f; fill: #0f8a5f }
.c3 { stroke: #7c3aed; fill: #7c3aed } .c4 { stroke: #be185d; fill: #be185d } .c5 { stroke: #64748b; fill: #64748b }
@media (prefers-color-scheme: dark) {
  text { fill: #93a0b4 } .group { fill: #e6eaf0 } .grid { stroke: #263041 } .join { stroke: #475467 }
  .c0 { stroke: #6ea8fe; fill: #6ea8fe } .c1 { stroke: #f7a14b; fill: #f7a14b } .c2 { stroke: #4cc38a; fill: #4cc38a }
  .c3 { stroke: #b392f0; fill: #b392f0 } .c4 { stroke: #f472b6; fill: #f472b6 } .c5 { stroke: #94a3b8; fill: #94a3b8 }
}
</style>
)";

/// Different values of a member, in the order in which they come.
std::vector<std::string> different(std::span<const ChartEstimate> estimates,
                                   std::string ChartEstimate::*member) {
  std::vector<std::string> values;
  for (const ChartEstimate& one : estimates)
    if (std::ranges::find(values, one.*member) == values.end()) values.push_back(one.*member);
  return values;
}

std::size_t colour_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<std::size_t>(std::ranges::find(names, name) - names.begin()) % kDotColours;
}

std::string chart_frame(double height, const std::string& content) {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" width=\"{0}\" "
             "height=\"{1:.0f}\">\n",
             kChartWidth, height) +
         std::string(kChartStyle) + content + "</svg>\n";
}

std::string percent_title(const ChartEstimate& one) {
  return fmt::format("<title>{}, {}: {:.1f} % [{:.1f}, {:.1f}]{}</title>", escape_markup(one.group),
                     escape_markup(one.name), 100 * one.estimate.value, 100 * one.estimate.low,
                     100 * one.estimate.high,
                     one.length > 0 ? fmt::format(", {:.0f} tokens", one.length) : "");
}

}  // namespace

std::string interval_chart_svg(std::span<const ChartEstimate> estimates) {
  constexpr double kLeft = 220;
  constexpr double kRow = 22;
  constexpr double kTop = 12;
  const std::vector<std::string> names = different(estimates, &ChartEstimate::name);
  const auto place = [](double part) { return kLeft + (kChartWidth - kLeft - kChartRight) * part; };
  std::string rows;
  double y = kTop;
  for (const std::string& group : different(estimates, &ChartEstimate::group)) {
    y += kRow;
    rows +=
        fmt::format("<text class=\"group\" x=\"8\" y=\"{:.1f}\">{}</text>\n", y - 6, escape_markup(group));
    for (const ChartEstimate& one : estimates) {
      if (one.group != group) continue;
      y += kRow;
      rows += fmt::format(
          "<g class=\"c{0}\">{1}<line class=\"whisker\" x1=\"{2:.1f}\" x2=\"{3:.1f}\" y1=\"{4:.1f}\" "
          "y2=\"{4:.1f}\"/>"
          "<circle cx=\"{5:.1f}\" cy=\"{4:.1f}\" r=\"4.5\"/></g>"
          "<text x=\"{6}\" y=\"{7:.1f}\" text-anchor=\"end\">{8}</text>\n",
          colour_of(names, one.name), percent_title(one), place(one.estimate.low), place(one.estimate.high),
          y - 10, place(one.estimate.value), kLeft - 12, y - 6, escape_markup(one.name));
    }
  }
  std::string axis;
  for (int percent = 0; percent <= 100; percent += 20)
    axis += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2:.1f}\"/>"
        "<text x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">{4} %</text>\n",
        place(percent / 100.0), kTop, y + 4, y + 20, percent);
  return chart_frame(y + 28, axis + rows);
}

std::string length_chart_svg(std::span<const ChartEstimate> estimates) {
  constexpr double kLeft = 64;
  constexpr double kTop = 16;
  constexpr double kHeight = 260;
  double longest = 1;
  double most = 0.05;
  for (const ChartEstimate& one : estimates) {
    longest = std::max(longest, one.length);
    most = std::max(most, one.estimate.high);
  }
  longest *= 1.05;
  most = std::min(1.0, most * 1.05);
  const auto x = [&](double length) {
    return kLeft + (kChartWidth - kLeft - kChartRight) * length / longest;
  };
  const auto y = [&](double part) { return kTop + kHeight * (1 - std::min(part / most, 1.0)); };
  std::string svg;
  const double y_step = tick_step(100 * most, 5);
  for (const double at : ticks_between(0, 100 * most, y_step))
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
        "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5} %</text>\n",
        kLeft, kChartWidth - kChartRight, y(at / 100), kLeft - 8, y(at / 100) + 4, tick_text(at, y_step));
  const double x_step = tick_step(longest, 7);
  for (const double at : ticks_between(0, longest, x_step))
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", x(at),
                       kTop + kHeight + 18, tick_text(at, x_step));
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">mean tokens of an answer</text>\n",
                     kChartWidth - kChartRight, kTop + kHeight + 38);
  const std::vector<std::string> names = different(estimates, &ChartEstimate::name);
  for (const std::string& group : different(estimates, &ChartEstimate::group)) {
    std::vector<ChartEstimate> of_group;
    for (const ChartEstimate& one : estimates)
      if (one.group == group) of_group.push_back(one);
    std::ranges::sort(of_group, {}, &ChartEstimate::length);
    std::string line;
    for (const ChartEstimate& one : of_group)
      line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? "M" : "L", x(one.length), y(one.estimate.value));
    svg += fmt::format("<path class=\"join\" d=\"{}\"/>\n", line);
    for (const ChartEstimate& one : of_group)
      svg += fmt::format(
          "<g class=\"c{0}\">{1}<line class=\"whisker\" x1=\"{2:.1f}\" x2=\"{2:.1f}\" y1=\"{3:.1f}\" "
          "y2=\"{4:.1f}\"/>"
          "<circle cx=\"{2:.1f}\" cy=\"{5:.1f}\" r=\"4.5\"/></g>\n",
          colour_of(names, one.name), percent_title(one), x(one.length), y(one.estimate.low),
          y(one.estimate.high), y(one.estimate.value));
  }
  double legend = kLeft;
  constexpr double kLetterWidth = 6.6;  // the font's mean: names are placed without measuring them
  for (std::size_t i = 0; i < names.size(); ++i) {
    svg += fmt::format(
        "<circle class=\"c{}\" cx=\"{:.1f}\" cy=\"{}\" r=\"4.5\"/><text x=\"{:.1f}\" y=\"{}\">{}</text>\n",
        i % kDotColours, legend, kTop + kHeight + 34, legend + 10, kTop + kHeight + 38,
        escape_markup(names[i]));
    legend += 30 + kLetterWidth * static_cast<double>(names[i].size());
  }
  return chart_frame(kTop + kHeight + 48, svg);
}

}  // namespace fathom
