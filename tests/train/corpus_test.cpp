#include "train/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CorpusTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;

  std::filesystem::path file(const std::string& name, const std::string& content) const {
    std::ofstream(folder_.path() / name, std::ios::binary) << content;
    return folder_.path() / name;
  }

  static std::vector<std::string> documents(const CorpusOptions& options) {
    std::vector<std::string> texts;
    Corpus(options).for_each([&](std::string text, std::uint64_t) { texts.push_back(std::move(text)); });
    return texts;
  }

  static std::string error_of(const CorpusOptions& options) {
    try {
      documents(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(CorpusTest, ATextFileIsOneDocument) {
  EXPECT_THAT(documents({.inputs = {file("a.txt", "one\n\ntwo\n"), file("b", "three")}}),
              ElementsAre("one\n\ntwo\n", "three"));
}

TEST_F(CorpusTest, AMarkerLineSeparatesDocuments) {
  const auto path = file("a.txt", "---\none\ntwo\n---\r\n---\nthree --- four\n---");
  EXPECT_THAT(documents({.inputs = {path}, .split_on = "---"}),
              ElementsAre("one\ntwo\n", "three --- four\n"));
}

TEST_F(CorpusTest, JsonLinesGiveTheirField) {
  const auto path =
      file("a.jsonl", "{\"text\": \"one\\n\"}\n\n{\"text\": \"\"}\n{\"text\": \"two\", \"id\": 3}");
  EXPECT_THAT(documents({.inputs = {path}}), ElementsAre("one\n", "two"));
}

TEST_F(CorpusTest, AFolderGivesItsTextsInTheOrderOfTheirNames) {
  file("b.txt", "second");
  file("a.jsonl", "{\"text\": \"first\"}\n");
  file("notes.md", "ignored");
  EXPECT_THAT(documents({.inputs = {folder_.path()}}), ElementsAre("first", "second"));
}

TEST_F(CorpusTest, AnEmptyFileHasNoDocument) {
  EXPECT_THAT(documents({.inputs = {file("a.txt", ""), file("b.txt", "x")}}), ElementsAre("x"));
}

TEST_F(CorpusTest, BytesReadReachTheTotal) {
  const Corpus corpus({.inputs = {file("a.txt", "12345"), file("b.jsonl", "{\"text\": \"x\"}\n")}});
  std::vector<std::uint64_t> read;
  corpus.for_each([&](const std::string&, std::uint64_t bytes) { read.push_back(bytes); });
  EXPECT_THAT(read, ElementsAre(5, 19));
  EXPECT_EQ(corpus.bytes(), 19U);
}

TEST_F(CorpusTest, BadInputIsNamedWithItsLine) {
  EXPECT_THAT(error_of({.inputs = {file("a.jsonl", "{\"text\": \"x\"}\n{\"tex")}}),
              HasSubstr("a.jsonl:2: not valid"));
  EXPECT_THAT(error_of({.inputs = {file("b.jsonl", "{\"body\": \"x\"}")}}), HasSubstr("no field \"text\""));
  EXPECT_THAT(error_of({.inputs = {file("c.jsonl", "{\"text\": 3}")}}),
              HasSubstr("c.jsonl:1: the field \"text\""));
  EXPECT_THAT(error_of({.inputs = {file("d.jsonl", "[1]")}}), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of({.inputs = {folder_.path() / "absent"}}), HasSubstr("no such file"));
  std::filesystem::create_directory(folder_.path() / "empty");
  EXPECT_THAT(error_of({.inputs = {folder_.path() / "empty"}}), HasSubstr("no .txt or .jsonl files"));
}

TEST(TailBeginTest, CutsAfterALineBreakOrElseAtACharacter) {
  EXPECT_EQ(tail_begin("aaaa\nbbbb\n", 0.5), 5U);
  EXPECT_EQ(tail_begin("aaaa\nbbbb\n", 0.3), 5U);
  EXPECT_EQ(tail_begin("aaaaaaaaaa", 0.3), 7U);
  EXPECT_EQ(tail_begin("aaaaaa\xE2\x82\xAC"
                       "a",
                       0.2),
            6U);  // inside the euro sign
  EXPECT_EQ(tail_begin("aaaa", 0), 4U);
  EXPECT_EQ(tail_begin("", 0.5), 0U);
}

}  // namespace
}  // namespace fathom
