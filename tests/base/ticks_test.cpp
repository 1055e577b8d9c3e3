#include "base/ticks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(TicksTest, StepsAreOneTwoOrFiveTimesAPowerOfTen) {
  EXPECT_DOUBLE_EQ(tick_step(10, 10), 1);
  EXPECT_DOUBLE_EQ(tick_step(66, 7), 10);
  EXPECT_DOUBLE_EQ(tick_step(0.9, 5), 0.2);
  EXPECT_DOUBLE_EQ(tick_step(2100, 5), 500);
  EXPECT_DOUBLE_EQ(tick_step(6e-4, 10), 1e-4);
}

TEST(TicksTest, EndsThatAreMultiplesAreTicks) {
  EXPECT_THAT(ticks_between(0, 30, 10), testing::ElementsAre(0, 10, 20, 30));
  EXPECT_THAT(ticks_between(-7, 12, 5), testing::ElementsAre(-5, 0, 5, 10));
  // Ten times 0.1 is a little off 1, whichever way one adds.
  EXPECT_EQ(ticks_between(0, 1, 0.1).size(), 11U);
  EXPECT_TRUE(ticks_between(0.1, 0.9, 1).empty());
}

TEST(TicksTest, TextsHaveTheDigitsThatTheStepNeeds) {
  EXPECT_EQ(tick_text(30, 10), "30");
  EXPECT_EQ(tick_text(0.30000000000000004, 0.1), "0.3");
  EXPECT_EQ(tick_text(2.5, 0.05), "2.50");
  EXPECT_EQ(tick_text(-1e-17, 0.2), "0.0");
}

}  // namespace
}  // namespace fathom
