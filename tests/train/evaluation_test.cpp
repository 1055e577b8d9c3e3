#include "train/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

namespace fathom {
namespace {

using testing::ElementsAre;

TEST(ProportionalCountsTest, AddUpAndFollowTheSizes) {
  const std::array<std::int64_t, 4> sizes = {600, 0, 300, 99};
  EXPECT_THAT(proportional_counts(sizes, 100), ElementsAre(60, 0, 30, 10));
  EXPECT_THAT(proportional_counts(sizes, 998), ElementsAre(597 + 2, 0, 300, 99));
  EXPECT_THAT(proportional_counts(sizes, 5000), ElementsAre(600, 0, 300, 99));
  EXPECT_THAT(proportional_counts(sizes, 3), ElementsAre(1, 0, 1, 1));
  EXPECT_THAT(proportional_counts({}, 3), ElementsAre());
}

TEST(ProportionalCountsTest, EverySourceHasOneWhereThatIsPossible) {
  const std::array<std::int64_t, 3> sizes = {1, 1'000'000'000'000, 1};
  EXPECT_THAT(proportional_counts(sizes, 10), ElementsAre(1, 8, 1));
}

TEST(ProportionalCountsTest, NoneIsAskedForMoreThanItHas) {
  const std::vector<std::int64_t> sizes(7, 3);
  for (std::int64_t wanted = 1; wanted <= 21; ++wanted) {
    std::int64_t sum = 0;
    for (const std::int64_t count : proportional_counts(sizes, wanted)) {
      EXPECT_LE(count, 3);
      sum += count;
    }
    EXPECT_EQ(sum, wanted);
  }
}

TEST(SourceLossTextTest, NamesEachSource) {
  EXPECT_EQ(source_loss_text(std::vector<SourceLoss>{{"web", 2.31}, {"a\nb", 2}}),
            "web 2.3100, a\\x0ab 2.0000");
}

}  // namespace
}  // namespace fathom
