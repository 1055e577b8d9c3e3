#include "train/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(CurveTest, ShortCurvesKeepEveryPoint) {
  Curve curve;
  for (int i = 0; i < 1000; ++i) curve.add(i, i * 2);
  ASSERT_EQ(curve.points().size(), 1000U);
  EXPECT_EQ(curve.points()[777].y, 1554);
}

TEST(CurveTest, LongCurvesStayBoundedAndKeepTheirMean) {
  Curve curve;
  constexpr int kCount = 1 << 17;
  for (int i = 0; i < kCount; ++i) curve.add(i, i % 2 == 0 ? 1 : 3);
  const auto points = curve.points();
  EXPECT_LE(points.size(), 1600U);
  EXPECT_GE(points.size(), 800U);
  for (const Curve::Point& point : points) EXPECT_EQ(point.y, 2);
  EXPECT_LT(points.front().x, kCount / 800.0);
  EXPECT_GT(points.back().x, kCount * (1 - 1 / 400.0));
}

class ReportTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "report.html";

  static Report::Facts facts() { return {{"Parameters", "1,234"}}; }
  /// The JSON that the page draws.
  Json data() const {
    const std::string page = read_text_file(file_, 64U << 20U);
    const std::string begin = "id=\"data\">";
    const std::size_t at = page.find(begin) + begin.size();
    return Json::parse(page.substr(at, page.find("</script>", at) - at));
  }
};

TEST_F(ReportTest, HoldsCurvesAndHeatMaps) {
  Report report("a run", facts(), {"layer 1", "MTP 1"}, 10);
  for (int i = 1; i <= 4; ++i)
    report.add(StepMetrics{.step = i, .loss = 5.0 - i, .mtp_loss = 1, .max_vio = 1, .layer_max_vio = {1, 2}});
  report.add(
      EvalMetrics{.step = 4, .loss = 2.5, .bits_per_byte = 1.25, .max_vio = 0.5, .expert_load = {{1}, {2}}});
  report.write(file_);
  const Json json = data();
  EXPECT_EQ(json.at("curves").at("loss"), Json::parse("[[1,4],[2,3],[3,2],[4,1]]"));
  EXPECT_EQ(json.at("curves").at("bits_per_byte"), Json::parse("[[4,1.25]]"));
  EXPECT_EQ(json.at("layer_max_vio").at(1).at(0), Json::parse("[1,2]"));
  EXPECT_EQ(json.at("heat"), Json::parse("[{\"step\":4,\"load\":[[1],[2]]}]"));
  EXPECT_EQ(json.at("step"), 4);
}

TEST_F(ReportTest, AsksNothingOfTheNetwork) {
  Report("a run", facts(), {}, 10).write(file_);
  const std::string page = read_text_file(file_, 64U << 20U);
  // The name of the SVG namespace looks like an address, and is none.
  const std::string name = "http://www.w3.org/2000/svg";
  std::string without_namespace = page;
  ASSERT_NE(page.find(name), std::string::npos);
  without_namespace.erase(page.find(name), name.size());
  EXPECT_THAT(without_namespace, Not(HasSubstr("http")));
  EXPECT_THAT(without_namespace, Not(HasSubstr("src=")));
  EXPECT_THAT(without_namespace, Not(HasSubstr("@import")));
}

TEST_F(ReportTest, EachSourceHasItsCurve) {
  Report report("a run", facts(), {}, 10);
  report.add(EvalMetrics{.step = 1, .source_loss = {{"web", 3}}});
  report.add(EvalMetrics{.step = 2, .source_loss = {{"web", 2}, {"books", 4}}});
  report.write(file_);
  EXPECT_EQ(data().at("source_loss"), Json::parse(R"([{"name":"web","points":[[1,3],[2,2]]},
                                                      {"name":"books","points":[[2,4]]}])"));
}

TEST_F(ReportTest, NamesCannotBreakOutOfTheData) {
  Report("</script><b>x", facts(), {}, 10).write(file_);
  EXPECT_EQ(data().at("title"), "</script><b>x");
}

TEST_F(ReportTest, NotANumberBecomesNull) {
  Report report("a run", facts(), {}, 10);
  report.add(StepMetrics{.step = 1, .loss = std::numeric_limits<double>::quiet_NaN()});
  report.write(file_);
  EXPECT_EQ(data().at("curves").at("loss"), Json::parse("[[1,null]]"));
}

// The page draws a map row by row beside the layers' names.
TEST_F(ReportTest, MapsOfAnotherVersionThatLackLayersAreLeftOut) {
  Report report("a run", facts(), {"layer 1", "MTP 1"}, 10);
  report.add(EvalMetrics{.step = 1, .expert_load = {{1}}});
  report.add(EvalMetrics{.step = 2, .expert_load = {{1}, {2}}});
  report.add(EvalMetrics{.step = 3});
  report.write(file_);
  EXPECT_EQ(data().at("heat"), Json::parse("[{\"step\":2,\"load\":[[1],[2]]}]"));
}

TEST_F(ReportTest, SizeStaysBoundedAndTheLatestHeatMapStays) {
  Report report("a run", facts(), {"layer 0"}, 1'000'000);
  for (int i = 1; i <= 1000; ++i)
    report.add(EvalMetrics{.step = i, .expert_load = {{static_cast<double>(i)}}});
  report.write(file_);
  const Json heat = data().at("heat");
  EXPECT_LE(heat.size(), 62U);
  EXPECT_GE(heat.size(), 30U);
  EXPECT_EQ(heat.front().at("step"), 1);
  EXPECT_EQ(heat.back().at("step"), 1000);
}

}  // namespace
}  // namespace fathom
