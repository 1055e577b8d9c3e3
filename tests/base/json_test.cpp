#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

TEST(JsonTest, ReadsWhatJsonAllows) {
  const Json json = parse_json(R"( {"a": [1, -2.5e3, "é\n", null, true], "b": {"a": {}}} )", "text");
  EXPECT_EQ(json["a"][1], -2500.0);
  EXPECT_EQ(json["a"][2], "é\n");
  EXPECT_TRUE(json["b"]["a"].empty());
}

TEST(JsonTest, NestingIsBounded) {
  EXPECT_NO_THROW(parse_json(nested(64), "text"));
  EXPECT_THAT(error_of([] { parse_json(nested(66), "f.json"); }),
              HasSubstr("f.json: JSON nested deeper than 64 levels"));
  // Far more than a recursive parser's stack holds.
  EXPECT_THAT(error_of([] { parse_json(std::string(5'000'000, '['), "f.json"); }),
              HasSubstr("nested deeper"));
}

TEST(JsonTest, KeyGivenTwiceIsAnErrorOnlyWithinOneObject) {
  EXPECT_THAT(error_of([] { parse_json(R"({"x": {"a": 1, "b": 2, "a": 3}})", "f.json"); }),
              HasSubstr(R"(f.json: the key "a" stands twice in one object)"));
  EXPECT_NO_THROW(parse_json(R"({"a": {"a": 1}, "b": {"a": 1}})", "text"));
}

TEST(JsonTest, NumberOfValuesIsBounded) {
  std::string many = "[0";
  for (int i = 0; i < 4'000'001; ++i) many += ",0";
  EXPECT_THAT(error_of([&] { parse_json(many + "]", "f.json"); }),
              HasSubstr("f.json: JSON of more than 4000000 values"));
}

TEST(JsonTest, MalformedTextIsNamedInOneLine) {
  for (const char* text :
       {"", "{", "[1,]", "{\"a\" 1}", "nul", "\"\xFF\"", "\"a\nb\"", "1e999", "[1] 2", "{\"a\":1}x"})
    EXPECT_THAT(
        error_of([&] { parse_json(text, "f.json"); }),
        AllOf(StartsWith("f.json: not valid JSON: "), Not(HasSubstr("\n")), Not(HasSubstr("exception"))))
        << text;
}

TEST(JsonTest, FileIsNamedAndItsSizeBounded) {
  EXPECT_THAT(error_of([] { read_json_file("/nowhere/config.json"); }),
              HasSubstr("/nowhere/config.json: cannot open"));
}

TEST(PrintableTest, ControlCharactersAreShownAndLongTextsCut) {
  EXPECT_EQ(printable("a.b"), "a.b");
  EXPECT_EQ(printable("a\nb\x1b[2J\x7f"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(printable("层"), "层");
  EXPECT_EQ(printable(std::string(1000, 'x')), std::string(200, 'x') + "...");
}

}  // namespace
}  // namespace fathom
