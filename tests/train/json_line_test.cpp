#include "train/json_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "base/rng.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

std::string bytes_of_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<std::pair<std::string, std::string>> golden_lines() {
  std::ifstream in(test::golden("train/goldens/json_lines.jsonl"), std::ios::binary);
  std::vector<std::pair<std::string, std::string>> lines;
  for (std::string line, hex; std::getline(in, line) && std::getline(in, hex);)
    lines.emplace_back(line, bytes_of_hex(hex));
  return lines;
}

TEST(JsonLineTest, GivesWhatPythonWrote) {
  const auto lines = golden_lines();
  ASSERT_GT(lines.size(), 100U);
  for (const auto& [line, text] : lines) EXPECT_EQ(string_field(line, "text", "line"), text) << line;
}

TEST(JsonLineTest, FindsTheFieldWhereverItStands) {
  EXPECT_EQ(string_field(R"({"text":"a"})", "text", "x"), "a");
  EXPECT_EQ(
      string_field(" {\t\"b\": {\"text\": 1}, \"text\" : \"a\\u0041\" , \"c\": [\"text\"] } ", "text", "x"),
      "aA");
  EXPECT_EQ(string_field(R"({"te\u0078t": "escaped key"})", "text", "x"), "escaped key");
  EXPECT_EQ(string_field(R"({"":"empty key"})", "", "x"), "empty key");
}

TEST(JsonLineTest, WhatIsNotALineOfTextIsNamed) {
  const auto error = [](const std::string& line) {
    return error_of([&] { string_field(line, "text", "a.jsonl:7"); });
  };
  EXPECT_THAT(error("{}"), HasSubstr("a.jsonl:7: the object has no field \"text\""));
  EXPECT_THAT(error(R"({"text": 3})"), HasSubstr("a.jsonl:7: the field \"text\" is not a string"));
  EXPECT_THAT(error("[1]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(error(R"({"text": "a", "text": "b"})"), HasSubstr("stands twice"));
  for (const char* bad : {"",
                          "{",
                          "nul",
                          R"({"text")",
                          R"({"text":)",
                          R"({"text":"a)",
                          R"({"text":"a\)",
                          R"({"text":"a\u12)",
                          R"({"text":"a\ud83d\u12)",
                          R"({"text":"a\x"})",
                          "{\"text\":\"a\nb\"}",
                          R"({"text":"a",})",
                          R"({"text":"a"}})",
                          R"({"text":"a"} x)",
                          R"({"text":"a","n":01})",
                          R"({"text":"a","n":1.})",
                          R"({"text":"a","n":-})",
                          R"({"text":"a","n":1e})",
                          R"({"text":"a","n":tru})",
                          R"({"text":"a" "b":1})",
                          R"({"text":"a","b":[1,]})",
                          R"({"text":"a","b":[})",
                          R"({'text':'a'})"})
    EXPECT_THAT(error(bad), HasSubstr("a.jsonl:7: not valid JSON")) << bad;
}

TEST(JsonLineTest, NestingIsBounded) {
  const auto nested = [](int depth) {
    return R"({"a":)" + std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']') + R"(,"text":"x"})";
  };
  EXPECT_EQ(string_field(nested(50), "text", "line"), "x");
  EXPECT_THAT(error_of([&] { string_field(nested(100'000), "text", "line"); }), HasSubstr("deeper than 64"));
}

TEST(JsonLineTest, OfADamagedLineItSaysWhatTheParserSays) {
  // Wherever the parser gives a text, so does the quick scanner, and the same; it may accept more only where
  // it repairs (halves of surrogate pairs) or does not look (another key twice).
  Rng random(5);
  const auto lines = golden_lines();
  int valid = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    std::string line = lines[random.below(lines.size())].first;
    for (std::uint64_t edits = 1 + random.below(2); edits > 0; --edits) {
      constexpr std::string_view kBytes = "\"\\{}[]:,0-.eEutn \n/x";
      const std::size_t at = random.below(line.size());
      if (random.below(3) == 0) {
        line.erase(at, 1);
      } else {
        line[at] = kBytes[random.below(kBytes.size())];
      }
    }
    std::string expected;
    const std::string parser_error = error_of([&] {
      const Json json = parse_json(line, "line");
      require(json.is_object() && json.contains("text") && json.at("text").is_string(), "no text");
      expected = json.at("text").get<std::string>();
    });
    std::string found;
    const std::string error = error_of([&] { found = string_field(line, "text", "line"); });
    if (parser_error == "no error") {
      ++valid;
      EXPECT_EQ(error, "no error") << line;
      EXPECT_EQ(found, expected) << line;
    } else if (error == "no error") {
      EXPECT_THAT(parser_error, testing::AnyOf(HasSubstr("surrogate"), HasSubstr("stands twice"),
                                               HasSubstr("UTF-8"), HasSubstr("number overflow")))
          << line;
    }
  }
  EXPECT_GT(valid, 200);
}

}  // namespace
}  // namespace fathom
