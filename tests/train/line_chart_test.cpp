#include "train/line_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "support/occurrences.h"

namespace fathom {
namespace {

using test::occurrences;
using testing::HasSubstr;
using testing::Not;

ChartLine rising(std::string name, int points) {
  ChartLine line{std::move(name), {}};
  for (int i = 0; i < points; ++i) line.points.push_back({static_cast<double>(i), 2.0 * i});
  return line;
}

TEST(LineChartTest, DrawsALineAndALegendEntryForEachRunInTheSameColour) {
  const LineChart charts[] = {{"loss", {rising("a", 9), rising("b", 9)}, false},
                              {"other", {rising("a", 9), rising("b", 9)}, false}};
  const std::string svg = line_charts_svg(charts, "step");
  EXPECT_EQ(occurrences(svg, "<path class=\"c0\""), 3U);  // legend and two charts
  EXPECT_EQ(occurrences(svg, "<path class=\"c1\""), 3U);
  EXPECT_THAT(svg, HasSubstr(">loss</text>"));
  EXPECT_THAT(svg, HasSubstr(">step</text>"));
}

TEST(LineChartTest, NamesAreEscaped) {
  const LineChart chart{"<b>", {rising("<script>", 3)}, false};
  EXPECT_THAT(line_charts_svg({&chart, 1}, "&"), Not(HasSubstr("<script>")));
}

TEST(LineChartTest, AxisIgnoresTheFirstTenthOfTheRange) {
  ChartLine line{"a", {{0, 1000.0}}};
  for (int i = 11; i <= 100; ++i) line.points.push_back({static_cast<double>(i), 3.0 + 0.001 * i});
  const LineChart chart{"loss", {line}, false};
  const std::string svg = line_charts_svg({&chart, 1}, "step");
  EXPECT_THAT(svg, HasSubstr(">3.04</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">500</text>")));
}

TEST(LineChartTest, ZeroLineIsInThePicture) {
  const LineChart chart{"difference", {{"a", {{0, 5}, {10, 5}, {20, 6}}}}, true};
  EXPECT_EQ(occurrences(line_charts_svg({&chart, 1}, "step"), "class=\"zero\""), 1U);
}

TEST(LineChartTest, ValuesThatAreNotFiniteAreLeftOut) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const LineChart chart{
      "loss", {{"a", {{0, 1}, {1, nan}, {2, std::numeric_limits<double>::infinity()}, {3, 2}}}}, false};
  const std::string svg = line_charts_svg({&chart, 1}, "step");
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(LineChartTest, NoLinesAndNoPointsStillMakeAPicture) {
  const LineChart chart{"loss", {}, false};
  EXPECT_THAT(line_charts_svg({&chart, 1}, "step"), HasSubstr("</svg>"));
  EXPECT_THAT(line_charts_svg({}, "step"), HasSubstr("</svg>"));
}

TEST(LineChartTest, SizeDoesNotGrowWithTheNumberOfPoints) {
  const LineChart chart{"loss", {rising("a", 100'000)}, false};
  EXPECT_LT(line_charts_svg({&chart, 1}, "step").size(), 30'000U);
}

}  // namespace
}  // namespace fathom
