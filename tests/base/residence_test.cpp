#include "base/residence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>

#include "support/error_text.h"

namespace fathom {
namespace {

TEST(ResidenceTest, KnowsTheNodeOfEveryAddressThatWasAdded) {
  const std::array<std::byte, 100> memory{};
  const std::byte* at = memory.data();
  Residence residence;
  residence.add(at + 10, 20, 1);
  residence.add(at + 30, 10, 1);
  residence.add(at + 40, 10, 0);
  residence.add(at + 60, 5, 2);
  EXPECT_FALSE(residence.node_of(at + 9));
  EXPECT_EQ(residence.node_of(at + 10), 1U);
  EXPECT_EQ(residence.node_of(at + 39), 1U);
  EXPECT_EQ(residence.node_of(at + 40), 0U);
  EXPECT_FALSE(residence.node_of(at + 50));
  EXPECT_EQ(residence.node_of(at + 64), 2U);
  EXPECT_FALSE(residence.node_of(at + 65));
  EXPECT_EQ(residence.nearest(at + 40, 1), at + 40);
  EXPECT_THAT(test::error_of([&] { residence.add(at, 1, 0); }), testing::HasSubstr("in their order"));
}

TEST(ResidenceTest, FindsANodesOwnCopy) {
  const std::array<std::byte, 10> first{};
  const std::array<std::byte, 10> second{};
  Residence residence;
  residence.add_mirror(first.data(), 10, {first.data(), second.data()});
  EXPECT_EQ(residence.nearest(first.data() + 3, 0), first.data() + 3);
  EXPECT_EQ(residence.nearest(first.data() + 3, 1), second.data() + 3);
  EXPECT_FALSE(residence.node_of(first.data() + 3));
}

}  // namespace
}  // namespace fathom
