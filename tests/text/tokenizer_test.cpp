#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "golden_corpus.h"
#include "small_tokenizer.h"
#include "support/error_text.h"

namespace fathom::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TokenizerTest, KnowsItsSpecialTokens) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer.bos(), 0);
  EXPECT_EQ(tokenizer.eos(), 1);
  EXPECT_EQ(tokenizer.id_of("<bos>"), 0);
  EXPECT_EQ(tokenizer.id_of("no such token"), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.is_special(100));
  EXPECT_FALSE(tokenizer.is_special(-1));
  EXPECT_FALSE(tokenizer.is_special(tokenizer.vocab_size()));
  EXPECT_EQ(tokenizer.chat_template(), "{{ messages }}");
}

TEST(TokenizerTest, AddsBosOnlyWhenAsked) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer.encode("").size(), 1U);
  EXPECT_EQ(tokenizer.encode("a").front(), 0);
  EXPECT_THAT(tokenizer.encode("", false), ElementsAre());
  EXPECT_EQ(tokenizer.encode("a", false).size(), 1U);
}

TEST(TokenizerTest, DecodingLeavesSpecialTokensOutOnRequest) {
  const Tokenizer tokenizer = small_tokenizer();
  const std::vector<std::int32_t> ids = tokenizer.encode("hi<eos>");
  EXPECT_EQ(tokenizer.decode(ids, true), "hi");
  EXPECT_EQ(tokenizer.decode(ids, false), "<bos>hi<eos>");
}

TEST(TokenizerTest, IdsOutsideTheVocabularyAreNamed) {
  const Tokenizer tokenizer = small_tokenizer();
  for (const std::int32_t id : {-1, static_cast<std::int32_t>(tokenizer.vocab_size()), INT32_MAX}) {
    const std::string expected = "there is no token " + std::to_string(id) + "; ids go from 0 to " +
                                 std::to_string(tokenizer.vocab_size() - 1);
    const std::vector<std::int32_t> ids = {id};
    EXPECT_THAT(error_of([&] { static_cast<void>(tokenizer.decode(ids)); }), HasSubstr(expected));
    EXPECT_THAT(error_of([&] { static_cast<void>(tokenizer.token_bytes(id)); }), HasSubstr(expected));
    EXPECT_THAT(error_of([&] { StreamDecoder(tokenizer).push(id); }), HasSubstr(expected));
  }
}

TEST(TokenizerTest, BytesThatAreNotUtf8CountAsReplacementCharacters) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer.encode("a\xff\xc3(\xf0\x9f\x98 b"), tokenizer.encode("a��(� b"));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("\xe4\xb8")), "�");
}

TEST(TokenizerTest, ThreadsShareOneTokenizer) {
  const Tokenizer tokenizer = small_tokenizer();
  const GoldenCorpus corpus;
  const std::vector<std::uint32_t> hashes = read_hashes(golden("text/goldens/small_corpus.bin"));
  std::vector<int> wrong(3, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < 900; ++i) {
        wrong[t] += hash_of_ids(tokenizer.encode(corpus.line(i), false)) == hashes[i] ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0));
}

TEST(TokenizerTest, LongRunsWithoutAWordBoundaryAreEncoded) {
  const Tokenizer tokenizer = small_tokenizer();
  const std::vector<std::string> parts = {"a", " ", "7", "é", "!", "漢", std::string(1, '\0'), "\n"};
  for (const std::string& part : parts) {
    std::string text = "x";
    for (int i = 0; i < 200'000; ++i) text += part;
    text += "y";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false)), text) << part;
  }
}

TEST(StreamDecoderTest, HoldsBackTheBeginningOfACharacter) {
  const Tokenizer tokenizer = small_tokenizer();
  // The bytes of the emoji have a token each: no merge in the small tokenizer makes the whole.
  std::vector<std::int32_t> ids;
  for (const char byte : std::string("😀")) {
    for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if (tokenizer.token_bytes(id) == std::string_view(&byte, 1)) ids.push_back(id);
    }
  }
  ASSERT_EQ(ids.size(), 4U);
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.push(ids[1]), "");
  EXPECT_EQ(stream.push(ids[2]), "");
  EXPECT_EQ(stream.push(ids[3]), "😀");
  EXPECT_EQ(stream.finish(), "");
  // Broken off: what was held back is one replacement character.
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.push(ids[1]), "");
  const std::int32_t letter = tokenizer.encode("a", false).front();
  EXPECT_EQ(stream.push(letter), "�a");
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.finish(), "�");
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoderTest, SkipsSpecialTokensOnRequest) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_EQ(StreamDecoder(tokenizer).push(0), "");
  EXPECT_EQ(StreamDecoder(tokenizer, false).push(0), "<bos>");
}

}  // namespace
}  // namespace fathom::test
