#include "train/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
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
    const Corpus corpus({options});
    CorpusReader reader(corpus);
    std::vector<std::string> texts;
    CorpusBlock block;
    while (reader.next(block))
      for (std::size_t i = 0; i < block.records.size(); ++i) {
        std::string text = record_text(block, i, options).text;
        if (block.offset > 0) {
          texts.back() += text;
        } else {
          texts.push_back(std::move(text));
        }
      }
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
  EXPECT_THAT(documents({.inputs = {path}}), ElementsAre("one\n", "", "two"));
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
  const Corpus corpus({{.inputs = {file("a.txt", "12345"), file("b.jsonl", "{\"text\": \"x\"}\n")}}});
  std::vector<std::uint64_t> read;
  CorpusReader reader(corpus);
  for (CorpusBlock block; reader.next(block);) read.push_back(block.bytes_read);
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

TEST_F(CorpusTest, CompressedFilesGiveTheSameDocuments) {
  const auto golden = [](const char* name) { return test::golden("io/goldens/compressed") / name; };
  const std::vector<std::string> plain = documents({.inputs = {golden("text.txt")}});
  for (const char* name : {"one.gz", "members.gz", "one.zst", "frames.zst"})
    EXPECT_EQ(documents({.inputs = {golden(name)}}), plain) << name;
}

TEST_F(CorpusTest, FoldersAreSearchedToTheirBottom) {
  std::filesystem::create_directories(folder_.path() / "b/c");
  file("b/c/deep.txt", "second");
  file("z.txt", "third");
  file("a.txt", "first");
  file("b/c/deep.md", "not taken");
  for (const char* ending : {".gz", ".zst"})
    std::filesystem::copy_file(test::golden("io/goldens/compressed") / (std::string("one") + ending),
                               folder_.path() / (std::string("zz.txt") + ending));
  const std::vector<std::string> found = documents({.inputs = {folder_.path()}});
  ASSERT_EQ(found.size(), 5U);
  EXPECT_EQ(found[0] + found[1] + found[2], "firstsecondthird");
  EXPECT_EQ(found[3], found[4]);
}

TEST_F(CorpusTest, TheKindOverrulesTheName) {
  const auto lines = file("lines.txt", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
  EXPECT_THAT(documents({.inputs = {lines}, .kind = CorpusKind::json_lines}), ElementsAre("a", "b"));
  const auto text = file("text.jsonl", "not JSON");
  EXPECT_THAT(documents({.inputs = {text}, .kind = CorpusKind::text}), ElementsAre("not JSON"));
}

TEST_F(CorpusTest, AByteOrderMarkIsNoText) {
  EXPECT_THAT(documents({.inputs = {file("a.txt", "\xEF\xBB\xBFx"),
                                    file("b.jsonl", "\xEF\xBB\xBF{\"text\":\"y\"}")}}),
              ElementsAre("x", "y"));
}

TEST_F(CorpusTest, BytesThatAreNoUtf8AreReplacedEverywhere) {
  const auto text = file("a.txt", "a\xFFz\xE6\xB1");
  const auto lines = file("b.jsonl", "{\"text\": \"b\xC0\xAF\"}\n{\"text\": \"\\ud800c\"}");
  EXPECT_THAT(documents({.inputs = {text, lines}}),
              ElementsAre("a\uFFFDz\uFFFD", "b\uFFFD\uFFFD", "\uFFFDc"));
}

TEST_F(CorpusTest, CompressedContentUnderAnotherNameIsSaidSo) {
  for (const char* name : {"one.gz", "one.zst"}) {
    const auto path = folder_.path() / "a.txt";
    std::filesystem::copy_file(test::golden("io/goldens/compressed") / name, path,
                               std::filesystem::copy_options::overwrite_existing);
    EXPECT_THAT(error_of({.inputs = {path}}), HasSubstr("a.txt: compressed, which its name must say"));
  }
}

/// Long and short documents with separators, in one file. A document that is cut in parts comes together
/// again.
std::string many_documents(std::uint64_t seed, const std::string& separator,
                           std::vector<std::string>& documents) {
  Rng random(seed);
  std::string text;
  for (int i = 0; i < 40; ++i) {
    std::string document;
    // One in ten is longer than what is held at a time, with lines that are longer in some.
    const std::uint64_t size = i % 10 == 3 ? kLongText + random.below(2 * kLongText) : random.below(60'000);
    const std::uint64_t line = i % 20 == 3 ? 3 * kLongText : 200;
    while (document.size() < size)
      document += std::string(random.below(line) + 1, static_cast<char>('a' + i % 26)) + "é\n";
    if (i % 4 == 1) document += separator + "not alone\n";
    text += document + separator + "\n";
    if (!document.empty()) documents.push_back(document);
  }
  return text;
}

TEST_F(CorpusTest, LongTextsComeInPartsAndLoseNothing) {
  std::vector<std::string> expected;
  const auto path = file("a.txt", many_documents(1, "-----", expected));
  const CorpusOptions options{.inputs = {path}, .split_on = "-----"};
  EXPECT_TRUE(documents(options) == expected);
  const Corpus corpus({options});
  CorpusReader reader(corpus);
  std::size_t parts = 0;
  for (CorpusBlock block; reader.next(block);) {
    parts += block.is_open ? 1 : 0;
    EXPECT_LE(block.bytes.size(), kLongText + (1U << 20U));
    EXPECT_TRUE(block.records.size() == 1 || (!block.is_open && block.offset == 0));
  }
  EXPECT_GT(parts, 4U);
  expected = {read_text_file(path, 1U << 30U)};
  EXPECT_TRUE(documents({.inputs = {path}}) == expected) << "the whole file as one document";
}

TEST_F(CorpusTest, ReadingGoesOnFromAnyRecord) {
  std::vector<std::string> expected;
  const auto first = file("a.txt", many_documents(2, "-----", expected));
  std::string lines;
  for (int i = 0; i < 3000; ++i) {
    lines += (i % 5 == 0 ? "\n" : "") + std::string("{\"text\":\"") + std::string(500, 'x') +
             std::to_string(i) + "\"}\n";
    expected.push_back(std::string(500, 'x') + std::to_string(i));
  }
  const CorpusOptions options{.inputs = {first, file("b.jsonl", lines)}, .split_on = "-----"};
  const Corpus corpus({options});
  std::vector<CorpusPlace> places;
  CorpusReader all(corpus);
  for (CorpusBlock block; all.next(block);)
    if (block.offset == 0)
      for (std::size_t i = 0; i < block.records.size(); ++i)
        places.push_back({block.place.file, block.place.record + i, block.place.ordinal + i});
  ASSERT_EQ(places.size(), expected.size());
  for (std::size_t i = 0; i < places.size(); i += places.size() / 40) {
    EXPECT_EQ(places[i].ordinal, i);
    CorpusReader reader(corpus, places[i]);
    CorpusBlock block;
    ASSERT_TRUE(reader.next(block));
    EXPECT_EQ(block.place.ordinal, i);
    EXPECT_EQ(block.offset, 0U);
    const std::string text = record_text(block, 0, options).text;
    EXPECT_TRUE(block.is_open ? expected[i].starts_with(text) : text == expected[i]) << i;
  }
}

TEST_F(CorpusTest, TheFingerprintFollowsTheFiles) {
  const auto path = file("a.txt", "one");
  const std::uint64_t before = Corpus({{.inputs = {path}}}).fingerprint();
  EXPECT_EQ(Corpus({{.inputs = {path}}}).fingerprint(), before);
  file("a.txt", "three");
  EXPECT_NE(Corpus({{.inputs = {path}}}).fingerprint(), before);
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
