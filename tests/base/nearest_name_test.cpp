#include "base/nearest_name.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace fathom {
namespace {

constexpr std::array<std::string_view, 3> kKnown = {"learning_rate", "weight_decay", "seed"};

TEST(NearestNameTest, FindsTheNameThatASlipMeant) {
  EXPECT_EQ(nearest_name("lerning_rate", kKnown), "learning_rate");
  EXPECT_EQ(nearest_name("weight-decay", kKnown), "weight_decay");
  EXPECT_EQ(nearest_name("sed", kKnown), "seed");
}

TEST(NearestNameTest, SaysNothingWhenNothingIsClose) {
  EXPECT_EQ(nearest_name("momentum", kKnown), "");
  EXPECT_EQ(nearest_name("", kKnown), "");
  EXPECT_EQ(nearest_name(std::string(100'000, 'l'), kKnown), "");
}

}  // namespace
}  // namespace fathom
