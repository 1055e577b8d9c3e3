#include "plan/name_groups.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> patterns(const std::vector<std::string>& names) {
  std::vector<std::string> result;
  for (const NameGroup& group : group_names(names)) result.push_back(group.pattern);
  return result;
}

TEST(NameGroupsTest, LayersAndExpertsBecomeOneLine) {
  std::vector<std::string> names = {"lm_head.weight"};
  for (int layer = 3; layer <= 60; ++layer)
    for (int expert = 0; expert < 256; ++expert)
      names.push_back(fmt::format("model.layers.{}.mlp.experts.{}.up_proj.weight", layer, expert));
  const std::vector<NameGroup> groups = group_names(names);
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].pattern, "lm_head.weight");
  EXPECT_EQ(groups[1].pattern, "model.layers.{3..60}.mlp.experts.{0..255}.up_proj.weight");
  EXPECT_EQ(groups[1].names.size(), 58U * 256U);
  EXPECT_EQ(groups[1].names.front(), "model.layers.3.mlp.experts.0.up_proj.weight");
  EXPECT_EQ(groups[1].names.back(), "model.layers.60.mlp.experts.255.up_proj.weight");
}

TEST(NameGroupsTest, APatternStandsForExactlyItsNames) {
  // Layer 2 lacks expert 1: it cannot share a line with the others.
  EXPECT_THAT(patterns({"l.0.e.0", "l.0.e.1", "l.1.e.0", "l.1.e.1", "l.2.e.0", "l.3.e.0", "l.3.e.1"}),
              ElementsAre("l.{0,1,3}.e.{0,1}", "l.2.e.0"));
  EXPECT_THAT(patterns({"l.0.w", "l.2.w", "l.4.w", "l.5.w", "l.6.w", "l.7.w"}),
              ElementsAre("l.{0,2,4..7}.w"));
}

TEST(NameGroupsTest, NumbersAreComparedAsNumbers) {
  EXPECT_THAT(patterns({"l.10.a", "l.9.b", "l.2.c", "l.x.d"}),
              ElementsAre("l.2.c", "l.9.b", "l.10.a", "l.x.d"));
  EXPECT_THAT(in_name_order({"b", "a.10", "a.9", "a.b"}), ElementsAre("a.9", "a.10", "a.b", "b"));
}

TEST(NameGroupsTest, OddNamesStandForThemselves) {
  const std::vector<std::string> odd = {"", ".", "a..1", "a.01", "a.007.b", "99999999999999999999"};
  EXPECT_THAT(patterns(odd), testing::UnorderedElementsAreArray(odd));
  EXPECT_THAT(group_names({}), IsEmpty());
}

}  // namespace
}  // namespace fathom
