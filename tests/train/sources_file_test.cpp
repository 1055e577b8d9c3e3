#include "train/sources_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

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
    {"name": "books", "files": "books.txt.zst", "split_on": "---", "kind": "text"}]})");
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
  EXPECT_FALSE(sources[1].weight.has_value());
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
  EXPECT_THAT(error_of(R"({"sources": [{"name": "a", "files": "f", "weight": "1"}]})"),
              HasSubstr("\"weight\""));
}

}  // namespace
}  // namespace fathom
