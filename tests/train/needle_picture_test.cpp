#include "train/needle_picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace fathom {
namespace {

using testing::HasSubstr;
using testing::Not;

NeedleMap small_map() {
  NeedleMap map;
  map.options = {.lengths = {512, 1024, 2048}, .depths = {0, 1}, .trials = 4, .distractors = 2, .seed = 9};
  map.cells = {{{4, -0.1}, {4, -0.2}}, {{2, -1.5}, {0, -8}}, {{0, -9}, {1, -7}}};
  return map;
}

std::size_t times_drawn(const std::string& text, const std::string& piece) {
  std::size_t count = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++count;
  return count;
}

TEST(NeedlePictureTest, EveryCellHasItsColourAndItsFigures) {
  const std::string svg = needle_svg(small_map(), "a model", 4096);
  EXPECT_EQ(times_drawn(svg, "<g><title>"), 6U);
  EXPECT_THAT(svg, HasSubstr("<title>1024 tokens, depth 0 %: 2 of 4 correct, log-probability -1.50</title>"));
  EXPECT_EQ(times_drawn(svg, "fill=\"rgb(23,138,92)\""), 2U) << "right";
  EXPECT_EQ(times_drawn(svg, "fill=\"rgb(200,62,45)\""), 2U) << "wrong";
  EXPECT_EQ(times_drawn(svg, "fill=\"rgb(243,208,98)\""), 1U) << "half and half";
  EXPECT_THAT(svg, HasSubstr(">2K</text>"));
  EXPECT_THAT(svg, HasSubstr("45.8 of all, 4 trials a cell"));
  EXPECT_THAT(svg, Not(HasSubstr("class=\"bound\"/>")));
}

TEST(NeedlePictureTest, ALineStandsWhereTheModelsPositionsEnd) {
  EXPECT_THAT(needle_svg(small_map(), "a model", 1024), HasSubstr("<line x1=\"192.0\" x2=\"192.0\""));
}

TEST(NeedlePictureTest, NamesAreEscaped) {
  EXPECT_THAT(needle_svg(small_map(), "a<b>&c", 4096), HasSubstr("a&lt;b&gt;&amp;c"));
}

TEST(NeedlePictureTest, AMapThatWasStoppedShowsWhatItHas) {
  NeedleMap map = small_map();
  map.cells.pop_back();
  EXPECT_EQ(times_drawn(needle_svg(map, "a model", 4096), "<g><title>"), 4U);
  EXPECT_EQ(needle_json(map).at("cells").size(), 4U);
  EXPECT_DOUBLE_EQ(map.accuracy(), 0.625);
}

TEST(NeedlePictureTest, JsonAndTableHoldTheSameFigures) {
  const OrderedJson json = needle_json(small_map());
  EXPECT_EQ(json.at("trials"), 4);
  EXPECT_EQ(json.at("cells").at(2).at("length"), 1024);
  EXPECT_EQ(json.at("cells").at(2).at("accuracy"), 0.5);
  EXPECT_EQ(json.at("cells").at(2).at("log_probability"), -1.5);
  EXPECT_EQ(needle_table(small_map()),
            "depth     512    1024    2048\n"
            "  0 %   100 %    50 %     0 %\n"
            "100 %   100 %     0 %    25 %\n");
}

}  // namespace
}  // namespace fathom
