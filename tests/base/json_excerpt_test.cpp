#include "base/json_excerpt.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace fathom {
namespace {

TEST(JsonExcerptTest, IsOneShortLineOfAscii) {
  EXPECT_EQ(excerpt(Json::parse(R"({"a": [1, null]})")), R"({"a":[1,null]})");
  EXPECT_EQ(excerpt("\xff\n"), R"("\ufffd\n")");
  EXPECT_EQ(excerpt(std::string(1000, 'x')).size(), 43U);
}

}  // namespace
}  // namespace fathom
