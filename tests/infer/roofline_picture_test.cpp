#include "infer/roofline_picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace fathom {
namespace {

using ::testing::HasSubstr;

/// A machine of 10 GB/s and 160 GOP/s, whose roof bends at 16 operations a byte.
SpeedResult measured(const SpeedCase& what, double bytes, double operations, double seconds) {
  SpeedResult result;
  result.what = what;
  result.seconds = seconds;
  result.mean_seconds = seconds;
  result.cost = {.weight_bytes = bytes, .weight_operations = operations};
  result.machine = {10e9, 160e9, 40e9};
  return result;
}

TEST(RooflinePictureTest, ShareIsOfWhateverBoundsAMeasurement) {
  // Two operations a byte: 20 GOP/s at most, and 10 reached. 64 a byte: 160 at most, and 80 reached.
  const std::vector<SpeedResult> results = {measured({1, 1, 0}, 1e9, 2e9, 0.2),
                                            measured({256, 1, 512}, 1e9, 64e9, 0.8)};
  const std::string svg = roofline_svg(results, /*integers=*/true);
  EXPECT_THAT(svg, HasSubstr("10.0 GB/s and 160 GOP/s"));
  EXPECT_THAT(svg, HasSubstr("decode, batch 1: 5.0 tokens/s, 50 % of the roof"));
  EXPECT_THAT(svg, HasSubstr("prefill 256 behind 512: 320.0 tokens/s, 50 % of the roof"));
}

TEST(RooflinePictureTest, FloatsHaveALowerRoof) {
  const std::vector<SpeedResult> results = {measured({256, 1, 0}, 1e9, 64e9, 3.2)};
  EXPECT_THAT(roofline_svg(results, /*integers=*/false), HasSubstr("80.0 tokens/s, 50 % of the roof"));
}

TEST(RooflinePictureTest, TheRoofIsTheBestThatWasSeen) {
  std::vector<SpeedResult> results(2, measured({1, 1, 0}, 1e9, 2e9, 0.2));
  results[1].machine.bytes_per_second = 20e9;
  EXPECT_THAT(roofline_svg(results, true), HasSubstr("20.0 GB/s and 160 GOP/s"));
}

}  // namespace
}  // namespace fathom
