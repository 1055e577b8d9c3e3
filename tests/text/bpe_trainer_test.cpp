#include "text/bpe_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "golden_corpus.h"
#include "support/shared_data.h"
#include "text/tokenizer.h"
#include "text/tokenizer_writer.h"

namespace fathom::test {
namespace {

BpeTrainer trainer_on_corpus(std::int64_t vocab_size, std::int64_t min_frequency) {
  BpeTrainer trainer({.vocab_size = vocab_size,
                      .min_frequency = min_frequency,
                      .bos_token = "<bos>",
                      .eos_token = "<eos>",
                      .more_special_tokens = {"<pad>"}});
  const GoldenCorpus corpus;
  for (std::size_t i = 0; i < 2000; ++i) trainer.add(corpus.line(i));
  return trainer;
}

TEST(BpeTrainerTest, LearnsTheLibrarysVocabularyAndMerges) {
  const Json goldens = read_json_file(golden("text/goldens/trained.json"));
  for (const Json& expected : goldens) {
    const TokenizerSpec spec =
        trainer_on_corpus(expected.at("vocab_size"), expected.at("min_frequency")).finish();
    std::string merges;
    for (const Merge& merge : spec.merges) merges += merge.left + " " + merge.right + "\n";
    EXPECT_EQ(spec.tokens.size(), expected.at("tokens").get<std::size_t>());
    EXPECT_EQ(merges, expected.at("merges").get<std::string>());
  }
}

TEST(BpeTrainerTest, WrittenFilesReadBackToTheSameTokenizer) {
  const TemporaryFolder folder;
  const TokenizerSpec spec = trainer_on_corpus(900, 2).finish();
  write_tokenizer(spec, folder.path() / "made");
  const Tokenizer trained(spec);
  const Tokenizer loaded = Tokenizer::load(folder.path() / "made");
  ASSERT_EQ(loaded.vocab_size(), trained.vocab_size());
  EXPECT_EQ(loaded.bos(), 0);
  EXPECT_EQ(loaded.eos(), 1);
  const GoldenCorpus corpus;
  for (std::size_t i = 0; i < 500; ++i) {
    const std::string line = corpus.line(i);
    const std::vector<std::int32_t> ids = loaded.encode(line);
    EXPECT_EQ(ids, trained.encode(line));
    EXPECT_EQ(ids.front(), 0);
  }
}

TEST(BpeTrainerTest, OrderOfTextsDoesNotMatter) {
  const auto merges_of = [](const std::vector<std::string>& texts) {
    BpeTrainer trainer({.vocab_size = 300});
    for (const std::string& text : texts) trainer.add(text);
    std::string merges;
    for (const Merge& merge : trainer.finish().merges) merges += merge.left + " " + merge.right + "\n";
    return merges;
  };
  const std::string forwards = merges_of({"abc abd abe", "xyz xyw", "abc"});
  EXPECT_FALSE(forwards.empty());
  EXPECT_EQ(forwards, merges_of({"abc", "xyz xyw", "abc abd abe"}));
}

TEST(BpeTrainerTest, StopsWhereNoPairIsFrequentEnough) {
  BpeTrainer trainer({.vocab_size = 5000, .min_frequency = 2});
  trainer.add("ab ab cd");
  const TokenizerSpec spec = trainer.finish();
  EXPECT_EQ(spec.tokens.size(), 3U + 256U + 1U);
  EXPECT_EQ(spec.tokens.back(), "ab");
}

TEST(BpeTrainerTest, TextWithoutWordsGivesTheBytesAlone) {
  BpeTrainer trainer({.vocab_size = 1000});
  trainer.add("");
  EXPECT_EQ(trainer.finish().tokens.size(), 259U);
}

TEST(BpeTrainerTest, RefusesVocabulariesThatCannotHoldTheBytes) {
  EXPECT_THROW(BpeTrainer({.vocab_size = 258}), Error);
  EXPECT_THROW(BpeTrainer({.vocab_size = std::int64_t{1} << 40}), Error);
  BpeTrainer twice({.vocab_size = 300, .bos_token = "<s>", .eos_token = "<s>"});
  EXPECT_THROW(static_cast<void>(twice.finish()), Error);
}

}  // namespace
}  // namespace fathom::test
