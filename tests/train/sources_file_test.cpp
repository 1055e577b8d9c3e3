#include "train/sources_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SourcesFileTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;

  std::vector<CorpusOptions> read(const std::string& content) const {
    std::ofstream(folder_.path() / "mix.json") << content;
    return read_sources_file(folder_.path() / "mix.json");
  }
  std::string error_of(const std::string& content) const {
    return test::error_of([&] { read(content); });
  }
};

TEST_F(SourcesFileTest, EveryKeyIsRead) {
  const auto sources = read(R"({"sources": [
    {"name": "web", "files": ["web", "/more"], "kind": "jsonl", "field": "content", "weight": 0.7},
    {"name": "books", "files": "books.txt.zst", "split_on": "---", "kind": "text", "weight": 0.3}]})");
  ASSERT_EQ(sources.size(), 2U);
  EXPECT_EQ(sources[0].name, "web");
  EXPECT_THAT(sources[0].inputs, ElementsAre(folder_.path() / "web", "/more"));
  EXPECT_EQ(sources[0].kind, CorpusKind::json_lines);
  EXPECT_EQ(sources[0].field, "content");
  EXPECT_EQ(sources[0].weight, 0.7);
  EXPECT_THAT(sources[1].inputs, ElementsAre(folder_.path() / "books.txt.zst"));
  EXPECT_EQ(sources[1].split_on, "---");
  EXPECT_EQ(sources[1].kind, CorpusKind::text);
  EXPECT_EQ(sources[1].field, "text");
  EXPECT_FALSE(read(R"({"sources": [{"name": "a", "files": "f"}]})")[0].weight.has_value());
}

TEST_F(SourcesFileTest, WhatIsWrongIsNamed) {
  EXPECT_THAT(error_of("[]"), HasSubstr("must be an object with \"sources\" alone"));
  EXPECT_THAT(error_of(R"({"sources": []})"), HasSubstr("array of 1 to"));
  EXPECT_THAT(error_of(R"({"sources": [3]})"), HasSubstr("sources[0]: a source must be an object"));
  EXPECT_THAT(error_of(R"({"sources": [{"name": "a"}]})"), HasSubstr("needs \"name\" and \"files\""));
  EXPECT_THAT(error_of(R"({"sources": [{"name": "a", "files": "f", "wieght": 1}]})"),
              HasSubstr("unknown key \"wieght\": did you mean weight?"));
  EXPECT_THAT(error_of(R"({"sources": [{"name": "a", "files": [1]}]})"), HasSubstr("\"files\" must be"));
  EXPECT_THAT(error_of(R"({"sources": [{"name": "a", "files": []}]})"), HasSubstr("\"files\" must be"));
  EXPECT_THAT(error_of(R"({"sources": [{"name": 1, "files": "f"}]})"),
              HasSubstr("\"name\" must be a string"));
  EXPECT_THAT(error_of(R"({"sources": [{"name": "a", "files": "f", "kind": "csv"}]})"),
              HasSubstr("\"kind\""));
  for (const char* weight : {"\"1\"", "null", "\"nan\""})
    EXPECT_THAT(
        error_of(R"({"sources": [{"name": "a", "files": "f", "weight": )" + std::string(weight) + "}]}"),
        HasSubstr("mix.json: sources[0]: \"weight\" must be a number"));
  for (const char* weight : {"0", "-1", "1e300"})
    EXPECT_THAT(
        error_of(R"({"sources": [{"name": "a", "files": "f", "weight": )" + std::string(weight) + "}]}"),
        HasSubstr("it must be above 0 and at most 1e+12"));
  for (const char* files : {"\"\"", "[\"f\", \"\"]", "\"f\\u0000g\"", "null", "{}"})
    EXPECT_THAT(error_of(R"({"sources": [{"name": "a", "files": )" + std::string(files) + "}]}"),
                HasSubstr("mix.json: sources[0]: \"files\" must be a path"))
        << files;
  EXPECT_THAT(error_of(R"({"sources": [{"name": "../a", "files": "f"}]})"),
              HasSubstr("mix.json: the name \"../a\" must be 1 to 64 letters"));
  EXPECT_THAT(error_of(R"({"sources": [{"name": "a", "files": "f"}, {"name": "a", "files": "g"}]})"),
              HasSubstr("mix.json: two sources have the name a"));
  EXPECT_THAT(
      error_of(R"({"sources": [{"name": "a", "files": "f", "weight": 1}, {"name": "b", "files": "g"}]})"),
      HasSubstr("mix.json: either every source has a weight or none"));
}

}  // namespace
}  // namespace fathom
