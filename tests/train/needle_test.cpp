#include "train/needle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "kernels/cross_entropy.h"
#include "support/error_text.h"
#include "support/tiny_model.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_spec.h"
#include "train/retrieval_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;
using Tokens = std::vector<std::int32_t>;

/// A tokenizer that has seen the generated text: a token for most of its words.
const Tokenizer& needle_tokenizer() {
  static const Tokenizer kTokenizer = [] {
    BpeTrainer trainer({.vocab_size = 600});
    for (std::uint64_t i = 0; i < 60; ++i) {
      Rng rng(1, i);
      trainer.add(retrieval_document(rng, 40, 0.3));
    }
    return Tokenizer(trainer.finish());
  }();
  return kTokenizer;
}

Tokens whole_text(const NeedleText& text, double depth) {
  Tokens tokens = text.hay();
  tokens.insert(tokens.begin() + static_cast<std::ptrdiff_t>(text.place(depth)), text.needle().begin(),
                text.needle().end());
  tokens.insert(tokens.end(), text.question().begin(), text.question().end());
  tokens.insert(tokens.end(), text.answer().begin(), text.answer().end());
  return tokens;
}

std::size_t count_in(const std::string& text, const std::string& piece) {
  std::size_t count = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++count;
  return count;
}

TEST(NeedleTextTest, LengthsAreNeverExceededAndShortByLessThanASentence) {
  for (const std::int64_t length : {64, 65, 66, 100, 333, 1000}) {
    const NeedleText text(needle_tokenizer(), generated_haystack(), length, 0, 3);
    for (const double depth : {0.0, 0.3, 1.0}) {
      const auto size = static_cast<std::int64_t>(whole_text(text, depth).size());
      EXPECT_LE(size, length);
      EXPECT_GT(size, length - 30) << "the longest made-up sentence has fewer tokens";
    }
  }
}

TEST(NeedleTextTest, DepthZeroIsBeforeAllHayAndDepthOneBehindIt) {
  const Tokenizer& tokenizer = needle_tokenizer();
  const NeedleText text(tokenizer, generated_haystack(), 400, 0, 5);
  const std::size_t bos = tokenizer.encode("", true).size();
  EXPECT_EQ(text.place(0), bos);
  EXPECT_EQ(text.place(1), text.hay().size());
  const std::string needle = tokenizer.decode(text.needle());
  const std::string question = tokenizer.decode(text.question());
  const std::string answer = tokenizer.decode(text.answer());
  const std::string first = tokenizer.decode(whole_text(text, 0));
  const std::string last = tokenizer.decode(whole_text(text, 1));
  EXPECT_TRUE(first.starts_with(needle)) << first;
  EXPECT_TRUE(last.ends_with(needle + question + answer)) << last;
  EXPECT_TRUE(first.ends_with("." + question + answer)) << first;
}

TEST(NeedleTextTest, TheNeedleStandsBetweenSentencesNearestToItsDepth) {
  const Tokenizer& tokenizer = needle_tokenizer();
  const NeedleText text(tokenizer, generated_haystack(), 1000, 0, 5);
  const auto hay = static_cast<double>(text.hay().size());
  for (double depth = 0; depth <= 1; depth += 0.05) {
    const std::size_t place = text.place(depth);
    EXPECT_NEAR(static_cast<double>(place), depth * hay, 15);
    const Tokens before(text.hay().begin(), text.hay().begin() + static_cast<std::ptrdiff_t>(place));
    const std::string read = tokenizer.decode(before);
    EXPECT_TRUE(read.empty() || read.ends_with('.')) << read;
    EXPECT_EQ(count_in(tokenizer.decode(whole_text(text, depth)), tokenizer.decode(text.needle())), 1U);
  }
}

TEST(NeedleTextTest, DistractorsAreOtherFactsOfTheSameForm) {
  const NeedleText text(needle_tokenizer(), generated_haystack(), 500, 8, 2);
  const std::string hay = needle_tokenizer().decode(text.hay());
  EXPECT_EQ(count_in(hay, "The password of "), 8U);
  EXPECT_LE(whole_text(text, 0.5).size(), 500U);
}

TEST(NeedleTextTest, TheSeedChoosesTheTextAndTheLengthToo) {
  const auto needle = [](std::int64_t length, std::uint64_t seed) {
    return NeedleText(needle_tokenizer(), generated_haystack(), length, 0, seed).hay();
  };
  EXPECT_EQ(needle(200, 1), needle(200, 1));
  EXPECT_NE(needle(200, 1), needle(200, 2));
}

TEST(NeedleTextTest, AGivenTextIsCutBetweenSentencesAndGoesRound) {
  const Haystack haystack = text_haystack("One is here. Two is\nthere! Is three?  \n\n Four");
  const auto next = haystack(4);
  std::string read;
  for (int i = 0; i < 10; ++i) read += next();
  EXPECT_THAT(read, HasSubstr(" Two is\nthere! Is three?"));
  EXPECT_THAT(read, HasSubstr(" FourOne is here. Two is"));
  EXPECT_THAT(error_of([] { text_haystack(" \n\t "); }), HasSubstr("the haystack has no text"));
  // Text without any sentence's end is cut between characters.
  std::string long_line;
  for (int i = 0; i < 1000; ++i) long_line += "é";
  const auto piece = text_haystack(long_line)(1);
  for (int i = 0; i < 6; ++i) {
    const std::string cut = piece();
    EXPECT_LE(cut.size(), 402U);
    EXPECT_EQ(cut.size() % 2, 0U);
  }
}

TEST(NeedleTextTest, ACityThatTheTextMentionsIsNotAskedFor) {
  std::string text;
  for (const std::string_view key : fact_keys())
    if (key != "Lima") text += std::string(key) + " is a city. ";
  const NeedleText needle(needle_tokenizer(), text_haystack(text), 5000, 0, 1);
  EXPECT_THAT(needle_tokenizer().decode(needle.needle()), HasSubstr("Lima"));
  EXPECT_THAT(
      error_of([&] { NeedleText(needle_tokenizer(), text_haystack(text + "Lima too."), 5000, 0, 1); }),
      HasSubstr("1 facts asked for, there are 0 cities"));
}

TEST(NeedleTextTest, ALengthWithoutRoomForTheNeedleIsAnError) {
  EXPECT_THAT(error_of([] { NeedleText(needle_tokenizer(), generated_haystack(), 12, 0, 1); }),
              HasSubstr("more than the length 12"));
}

TEST(NeedleTextTest, DefaultLengthsAndDepths) {
  EXPECT_THAT(doubling_lengths(4096, 64, 4), ElementsAre(512, 1024, 2048, 4096));
  EXPECT_THAT(doubling_lengths(200, 64, 6), ElementsAre(100, 200));
  EXPECT_THAT(doubling_lengths(40, 64, 6), ElementsAre(40));
  const std::int64_t shortest = shortest_needle_text(needle_tokenizer());
  EXPECT_GT(NeedleText(needle_tokenizer(), generated_haystack(), shortest, 0, 1).hay().size(), 5U);
  EXPECT_THAT(even_depths(3), ElementsAre(0, 0.5, 1));
  EXPECT_THAT(even_depths(1), ElementsAre(0.5));
}

class FindNeedlesTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  Context context_{pool_};
  ModelConfig config_ = test::tiny_v3();
  TransformerWeights weights_;
  NeedleOptions options_{
      .lengths = {64, 200}, .depths = {0, 0.5, 1}, .trials = 2, .distractors = 1, .seed = 3};

  void SetUp() override {
    config_.vocab_size = needle_tokenizer().vocab_size() + 5;
    config_.max_position_embeddings = 256;
    weights_ = random_weights(config_, 1);
  }

  /// Hidden states of a whole text, without a cache.
  Tensor hidden_states(const Transformer& model, const Tokens& tokens) const {
    return model.hidden_states(context_, tokens,
                               Sequences::uniform(1, static_cast<std::int64_t>(tokens.size())));
  }
};

TEST_F(FindNeedlesTest, ScoresAreThoseOfWholeTextsWithoutACache) {
  const Transformer model(config_, weights_, 200);
  const NeedleMap map = find_needles(context_, model, needle_tokenizer(), generated_haystack(), options_);
  ASSERT_EQ(map.cells.size(), 2U);
  for (std::size_t l = 0; l < 2; ++l)
    for (std::size_t d = 0; d < 3; ++d) {
      double expected = 0;
      for (std::uint64_t trial = 0; trial < 2; ++trial) {
        const NeedleText text(needle_tokenizer(), generated_haystack(), options_.lengths[l], 1, 3 + trial);
        const Tokens tokens = whole_text(text, options_.depths[d]);
        Tensor logits = model.head(context_, hidden_states(model, tokens));
        for (std::size_t i = tokens.size() - text.answer().size(); i < tokens.size(); ++i) {
          float* row = logits.f32() + static_cast<std::int64_t>(i - 1) * config_.vocab_size;
          kernels::log_softmax(row, config_.vocab_size);
          expected += static_cast<double>(row[tokens[i]]) / 2;
        }
      }
      EXPECT_NEAR(map.cells[l][d].log_probability, expected, 1e-3) << l << " " << d;
    }
  EXPECT_EQ(map.accuracy(), 0);
}

TEST_F(FindNeedlesTest, AModelThatGivesTheAnswerIsCorrectOnlyWhereItDoes) {
  // The head's rows of the answer's tokens become the hidden states after which they come, all others zero,
  // for the text with its needle in the middle; a row of the last token's opposite keeps the model from it
  // elsewhere.
  options_ = {.lengths = {200}, .depths = {0.5}, .trials = 1, .distractors = 0, .seed = 9};
  const Transformer model(config_, weights_, 200);
  const NeedleText text(needle_tokenizer(), generated_haystack(), 200, 0, 9);
  const Tokens tokens = whole_text(text, 0.5);
  const Tensor hidden = hidden_states(model, tokens);
  weights_.lm_head.weight.fill_zero();
  const std::int64_t width = config_.hidden_size;
  for (std::size_t i = tokens.size() - text.answer().size(); i < tokens.size(); ++i)
    std::copy_n(hidden.f32() + static_cast<std::int64_t>(i - 1) * width, width,
                weights_.lm_head.weight.f32() + tokens[i] * width);
  const auto accuracy = [&] {
    return find_needles(context_, model, needle_tokenizer(), generated_haystack(), options_).accuracy();
  };
  EXPECT_EQ(accuracy(), 1);
  float* last = weights_.lm_head.weight.f32() + tokens.back() * width;
  for (std::int64_t i = 0; i < width; ++i) last[i] = -last[i];
  EXPECT_EQ(accuracy(), 0) << "the last token of the answer is wrong now";
}

TEST_F(FindNeedlesTest, TokensWithoutTextAreNoAnswer) {
  // Ids above the tokenizer's vocabulary would win; `fathom run` never chooses them either.
  options_ = {.lengths = {64}, .depths = {1}, .trials = 1, .distractors = 0, .seed = 9};
  const Transformer model(config_, weights_, 64);
  const NeedleText text(needle_tokenizer(), generated_haystack(), 64, 0, 9);
  const Tokens tokens = whole_text(text, 1);
  const Tensor hidden = hidden_states(model, tokens);
  weights_.lm_head.weight.fill_zero();
  const std::int64_t width = config_.hidden_size;
  for (std::size_t i = tokens.size() - text.answer().size(); i < tokens.size(); ++i)
    for (std::int64_t c = 0; c < width; ++c) {
      const float value = hidden.f32()[static_cast<std::int64_t>(i - 1) * width + c];
      weights_.lm_head.weight.f32()[tokens[i] * width + c] = value;
      weights_.lm_head.weight.f32()[(config_.vocab_size - 1) * width + c] += value;
    }
  EXPECT_EQ(find_needles(context_, model, needle_tokenizer(), generated_haystack(), options_).accuracy(), 1);
}

TEST_F(FindNeedlesTest, ProgressRunsToTheEndAndStopsWhenAsked) {
  const Transformer model(config_, weights_, 200);
  double last = 0;
  find_needles(context_, model, needle_tokenizer(), generated_haystack(), options_, [&](double done) {
    EXPECT_GT(done, last);
    last = done;
    return true;
  });
  EXPECT_NEAR(last, 1, 1e-9);
  const NeedleMap stopped = find_needles(context_, model, needle_tokenizer(), generated_haystack(), options_,
                                         [&](double done) { return done < 0.5; });
  EXPECT_EQ(stopped.cells.size(), 1U) << "the shorter length was finished";
}

TEST_F(FindNeedlesTest, LengthsBeyondTheModelAreRefused) {
  const Transformer model(config_, weights_, 199);
  EXPECT_THAT(
      error_of([&] { find_needles(context_, model, needle_tokenizer(), generated_haystack(), options_); }),
      HasSubstr("a needle text of 200 tokens, the model is made for 199"));
}

}  // namespace
}  // namespace fathom
