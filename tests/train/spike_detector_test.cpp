#include "train/spike_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"

namespace fathom {
namespace {

using testing::HasSubstr;

/// Feeds steps 1 to `count` with a falling loss and a steady norm, both noisy.
void feed_healthy(SpikeDetector& detector, std::int64_t count) {
  Rng rng(5);
  for (std::int64_t step = 1; step <= count; ++step) {
    const double loss = 2 + 3 * std::exp(-static_cast<double>(step) / 100) + 0.05 * rng.normal();
    detector.add(step, loss, std::exp(0.3 * rng.normal()));
    ASSERT_FALSE(detector.spike()) << step;
  }
}

TEST(SpikeDetectorTest, ANoisyFallingLossIsNoSpike) {
  SpikeDetector detector(10, 3);
  feed_healthy(detector, 2000);
}

TEST(SpikeDetectorTest, ALossThatStaysUpIsNamedWithItsFirstStep) {
  SpikeDetector detector(10, 5);
  feed_healthy(detector, 300);
  for (int step = 301; step <= 304; ++step) {
    detector.add(step, 6, 1);
    EXPECT_EQ(detector.rising_since(), 301);
    EXPECT_FALSE(detector.spike());
  }
  detector.add(305, 6.5, 1);
  ASSERT_TRUE(detector.spike());
  EXPECT_EQ(detector.spike()->first, 301);
  EXPECT_THAT(detector.spike()->what, HasSubstr("the loss is 6.5, the median of the steps before 2."));
}

TEST(SpikeDetectorTest, AGradientThatStaysLongIsASpikeToo) {
  SpikeDetector detector(10, 2);
  feed_healthy(detector, 300);
  detector.add(301, 2, 500);
  detector.add(302, 2, 1000);
  ASSERT_TRUE(detector.spike());
  EXPECT_THAT(detector.spike()->what, HasSubstr("the gradient norm is 1e+03"));
}

TEST(SpikeDetectorTest, OneBadBatchIsNoSpike) {
  SpikeDetector detector(10, 2);
  feed_healthy(detector, 300);
  for (int step = 301; step < 400; ++step) {
    detector.add(step, step % 2 == 0 ? 2 : 50, step % 2 == 0 ? 1 : 1e6);
    EXPECT_FALSE(detector.spike());
    EXPECT_EQ(detector.rising_since().has_value(), step % 2 != 0);
  }
}

TEST(SpikeDetectorTest, ASteadyCurveMayRiseByAFewPercent) {
  SpikeDetector detector(10, 1);
  for (int step = 1; step <= 100; ++step) detector.add(step, 2, 1);
  detector.add(101, 2.09, 1.5);
  EXPECT_FALSE(detector.spike());
  detector.add(102, 2.2, 1);
  EXPECT_TRUE(detector.spike());
}

// A log of an older version may lack a figure; the first steps that have it are no rise from nothing.
TEST(SpikeDetectorTest, AFigureThatIsMissingIsNotJudged) {
  SpikeDetector detector(10, 1);
  for (int step = 1; step <= 100; ++step) detector.add(step, 2, std::numeric_limits<double>::quiet_NaN());
  for (int step = 101; step <= 200; ++step) {
    detector.add(step, 2, 1);
    EXPECT_FALSE(detector.spike()) << step;
  }
  detector.add(201, 2, 50);
  EXPECT_TRUE(detector.spike());
}

TEST(SpikeDetectorTest, WithoutAThresholdOrEnoughStepsNothingIsNoticed) {
  SpikeDetector off(0, 1);
  SpikeDetector early(10, 1);
  for (int step = 1; step <= 200; ++step) off.add(step, step < 100 ? 1 : 1e9, 1);
  for (int step = 1; step <= 10; ++step) early.add(step, step < 9 ? 1 : 1e9, 1);
  EXPECT_FALSE(off.spike());
  EXPECT_FALSE(early.spike());
}

}  // namespace
}  // namespace fathom
