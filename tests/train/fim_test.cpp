#include "train/fim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "base/checksum.h"
#include "base/file.h"
#include "support/shared_data.h"
#include "text/bpe_trainer.h"
#include "text/utf8.h"

namespace fathom {
namespace {

std::string numbered(int i) {
  return "document " + std::to_string(i) + ": é汉🙂 " +
         std::string(static_cast<std::size_t>(i % 50), 'x');
}

TEST(FimTest, ThePartsAreTheDocument) {
  int empty_middles = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string text = numbered(i);
    const auto parts = fim_parts(text, checksum(text), 1, 1.0);
    ASSERT_TRUE(parts.has_value());
    EXPECT_EQ(std::string(parts->prefix) + std::string(parts->middle) + std::string(parts->suffix), text);
    for (const std::string_view part : {parts->prefix, parts->middle, parts->suffix})
      EXPECT_TRUE(is_valid_utf8(part));
    empty_middles += parts->middle.empty() ? 1 : 0;
  }
  EXPECT_LT(empty_middles, 200);
}

TEST(FimTest, AsManyAreRearrangedAsTheRateSays) {
  constexpr int kCount = 20'000;
  for (const double rate : {0.0, 0.1, 0.5, 1.0}) {
    int rearranged = 0;
    for (int i = 0; i < kCount; ++i) {
      const std::string text = numbered(i);
      rearranged += fim_parts(text, checksum(text), 7, rate) ? 1 : 0;
    }
    // Five standard deviations of the binomial distribution.
    EXPECT_NEAR(rearranged, rate * kCount, 5 * std::sqrt(rate * (1 - rate) * kCount)) << rate;
  }
}

TEST(FimTest, TheChoiceIsTheSeedsAndTheDocuments) {
  const std::string text = numbered(3);
  const auto first = fim_parts(text, checksum(text), 1, 1.0);
  EXPECT_EQ(fim_parts(text, checksum(text), 1, 1.0)->middle, first->middle);
  std::set<std::string_view> middles;
  for (std::uint64_t seed = 0; seed < 50; ++seed)
    middles.insert(fim_parts(text, checksum(text), seed, 1.0)->middle);
  EXPECT_GT(middles.size(), 30U);
}

TEST(FimTest, CutsLieAnywhereAlike) {
  const std::string text(1000, 'a');
  double first = 0;
  double second = 0;
  constexpr int kCount = 4000;
  for (int i = 0; i < kCount; ++i) {
    const auto parts = fim_parts(text, static_cast<std::uint64_t>(i), 1, 1.0);
    first += static_cast<double>(parts->prefix.size()) / kCount;
    second += static_cast<double>(parts->prefix.size() + parts->middle.size()) / kCount;
  }
  // The lesser and the greater of two uniform numbers: a third and two thirds; standard deviation 236 /
  // sqrt(n).
  EXPECT_NEAR(first, 1000 / 3.0, 5 * 236 / std::sqrt(kCount));
  EXPECT_NEAR(second, 2000 / 3.0, 5 * 236 / std::sqrt(kCount));
}

TEST(FimTest, AnEmptyDocumentHasEmptyParts) {
  EXPECT_EQ(fim_parts("", 1, 1, 1.0)->middle, "");
}

TEST(FimTest, TheTokensAreFoundByTheirSpelling) {
  BpeTrainer plain({.vocab_size = 300});
  EXPECT_FALSE(FimTokens::of(Tokenizer(plain.finish())).has_value());
  BpeTrainer qwen(
      {.vocab_size = 300, .more_special_tokens = {"<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"}});
  const Tokenizer tokenizer(qwen.finish());
  const auto tokens = FimTokens::of(tokenizer);
  ASSERT_TRUE(tokens.has_value());
  EXPECT_EQ(tokenizer.token_spelling(tokens->begin), "<|fim_prefix|>");
  EXPECT_EQ(tokenizer.token_spelling(tokens->hole), "<|fim_suffix|>");
  EXPECT_EQ(tokenizer.token_spelling(tokens->end), "<|fim_middle|>");
}

TEST(FimTest, DeepSeeksTokenizerSpellsThemSo) {
  FATHOM_SHARED_DATA_OR_SKIP(shared);
  const std::string tokenizer = read_text_file(shared / "tokenizers/deepseek-v3/tokenizer.json", 64U << 20U);
  for (const char* token : {"<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"})
    EXPECT_THAT(tokenizer, testing::HasSubstr(std::string("\"content\": \"") + token + "\"")) << token;
  BpeTrainer trainer(
      {.vocab_size = 300, .more_special_tokens = {"<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"}});
  EXPECT_TRUE(FimTokens::of(Tokenizer(trainer.finish())).has_value());
}

}  // namespace
}  // namespace fathom
