#include "infer/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "infer/text_model.h"
#include "support/golden_models.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using test::TinyExpectation;
using testing::HasSubstr;
using testing::ThrowsMessage;

GenerationOptions greedy(std::int64_t max_tokens) {
  GenerationOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

class GeneratorTest : public testing::Test {
 protected:
  GeneratorTest() = default;

  [[nodiscard]] Generator generator(std::vector<std::int64_t> end_of_text = {}) const {
    return {context_, transformer_, model_.tokenizer, std::move(end_of_text)};
  }

  TextModel model_ = load_text_model(test::tiny_checkpoint("tiny_f32"));
  TinyExpectation expected_ = test::tiny_expectations("tiny_f32").front();
  Transformer transformer_{model_.config, model_.weights, model_.config.max_position_embeddings};
  ThreadPool pool_{2};
  Context context_{pool_};
};

TEST_F(GeneratorTest, GreedyAnswersAreThoseOfTransformers) {
  for (const char* name : {"tiny_f32", "tiny_bf16", "tiny_fp8"}) {
    const TextModel model = load_text_model(test::tiny_checkpoint(name));
    const Transformer transformer(model.config, model.weights, 128);
    const Generator generator(context_, transformer, model.tokenizer, {});
    for (const TinyExpectation& expected : test::tiny_expectations(name)) {
      const std::vector<std::int32_t> prompt = model.tokenizer.encode(expected.prompt);
      EXPECT_EQ(prompt, expected.ids);
      const Answer answer =
          generator.generate(prompt, greedy(static_cast<std::int64_t>(expected.answer_ids.size())));
      EXPECT_EQ(answer.tokens, expected.answer_ids) << name << ": " << expected.prompt;
      EXPECT_EQ(answer.text, expected.answer);
      EXPECT_EQ(answer.reason, StopReason::max_tokens);
    }
  }
}

TEST_F(GeneratorTest, StreamedPiecesTogetherAreTheText) {
  std::string streamed;
  int pieces = 0;
  const Answer answer = generator().generate(expected_.ids, greedy(24), [&](std::string_view piece) {
    streamed += piece;
    ++pieces;
  });
  EXPECT_EQ(streamed, answer.text);
  EXPECT_GT(pieces, 5);
}

TEST_F(GeneratorTest, StopStringAcrossTokensEndsTheAnswerBeforeIt) {
  // The end of one token's text and the beginning of the next one's.
  const std::string first = model_.tokenizer.decode(std::vector{expected_.answer_ids[0]});
  const std::string second = model_.tokenizer.decode(std::vector{expected_.answer_ids[1]});
  const std::string third = model_.tokenizer.decode(std::vector{expected_.answer_ids[2]});
  GenerationOptions options = greedy(24);
  options.stop = {"never", second.substr(second.size() - 1) + third.substr(0, 2)};
  std::string streamed;
  const Answer answer =
      generator().generate(expected_.ids, options, [&](std::string_view piece) { streamed += piece; });
  EXPECT_EQ(answer.text, first + second.substr(0, second.size() - 1));
  EXPECT_EQ(streamed, answer.text);
  EXPECT_EQ(answer.reason, StopReason::stop_string);
  EXPECT_EQ(answer.tokens.size(), 3U);
}

TEST_F(GeneratorTest, EndOfTextTokenEndsTheAnswerAndIsNotPartOfIt) {
  const Answer answer = generator({expected_.answer_ids[3]}).generate(expected_.ids, greedy(24));
  EXPECT_EQ(answer.reason, StopReason::end_of_text);
  EXPECT_THAT(answer.tokens,
              testing::ElementsAreArray(expected_.answer_ids.begin(), expected_.answer_ids.begin() + 3));
}

TEST_F(GeneratorTest, IgnoredEndOfTextGoesOn) {
  GenerationOptions options = greedy(24);
  options.ignore_eos = true;
  const Answer answer = generator({expected_.answer_ids[3]}).generate(expected_.ids, options);
  EXPECT_EQ(answer.tokens, expected_.answer_ids);
}

TEST_F(GeneratorTest, AnswerEndsWhereTheContextEnds) {
  const auto prompt_tokens = static_cast<std::int64_t>(expected_.ids.size());
  const Transformer small(model_.config, model_.weights, prompt_tokens + 3);
  const Generator in_small(context_, small, model_.tokenizer, {});
  for (const std::int64_t max_tokens : {0, 24}) {
    const Answer answer = in_small.generate(expected_.ids, greedy(max_tokens));
    EXPECT_EQ(answer.reason, StopReason::context_full);
    // Three tokens that are fed back, and one more that comes out of the last.
    EXPECT_THAT(answer.tokens,
                testing::ElementsAreArray(expected_.answer_ids.begin(), expected_.answer_ids.begin() + 4));
  }
}

TEST_F(GeneratorTest, LongPromptInBlocksEqualsTheWholeSequence) {
  const test::GoldenModel& golden = test::golden_models().front();
  const TransformerWeights weights = golden.weights();
  const Transformer transformer(golden.config, weights, 1200);
  std::vector<std::int32_t> prompt(1100);  // more than two blocks of prefill
  for (std::size_t i = 0; i < prompt.size(); ++i)
    prompt[i] = static_cast<std::int32_t>(i * i % static_cast<std::size_t>(golden.config.vocab_size));
  const Generator generator(context_, transformer, model_.tokenizer, {});
  const Answer answer = generator.generate(prompt, greedy(1));

  const Tensor hidden = transformer.hidden_states(context_, prompt, Sequences::uniform(1, 1100));
  const Tensor logits = transformer.head(context_, hidden.rows(1099, 1100));
  const auto best = std::ranges::max_element(logits.values()) - logits.values().begin();
  EXPECT_THAT(answer.tokens, testing::ElementsAre(best));
}

TEST_F(GeneratorTest, CancellationEndsTheAnswerBetweenTokens) {
  std::atomic<bool> cancelled{false};
  const Answer answer = generator().generate(
      expected_.ids, greedy(24), [&](std::string_view) { cancelled = true; }, &cancelled);
  EXPECT_EQ(answer.reason, StopReason::cancelled);
  EXPECT_LT(answer.tokens.size(), 24U);
}

TEST_F(GeneratorTest, SameSeedSameAnswerOnAnyNumberOfThreads) {
  GenerationOptions options;
  options.sampling.seed = 3;
  options.max_tokens = 20;
  const Answer two = generator().generate(expected_.ids, options);
  ThreadPool one_thread(1);
  const Context alone{one_thread};
  const Answer one = Generator(alone, transformer_, model_.tokenizer, {}).generate(expected_.ids, options);
  EXPECT_EQ(one.tokens, two.tokens);
  options.sampling.seed = 4;
  EXPECT_NE(generator().generate(expected_.ids, options).tokens, two.tokens);
}

TEST_F(GeneratorTest, StatisticsCountTokensAndTime) {
  const GenerationStats stats = generator().generate(expected_.ids, greedy(10)).stats;
  EXPECT_EQ(stats.prompt_tokens, static_cast<std::int64_t>(expected_.ids.size()));
  EXPECT_EQ(stats.answer_tokens, 10);
  EXPECT_EQ(stats.decode_steps, 9);
  EXPECT_GT(stats.prompt_tokens_per_second(), 0.0);
  EXPECT_GT(stats.decode_tokens_per_second(), 0.0);
}

TEST_F(GeneratorTest, ImpossiblePromptsAreRefused) {
  const auto generate = [&](const std::vector<std::int32_t>& prompt) {
    return [this, prompt] { generator().generate(prompt, greedy(1)); };
  };
  EXPECT_THAT(generate({}), ThrowsMessage<Error>(HasSubstr("prompt is empty")));
  EXPECT_THAT(generate(std::vector<std::int32_t>(129, 5)),
              ThrowsMessage<Error>(HasSubstr("context holds 128")));
  EXPECT_THAT(generate({5, 340}), ThrowsMessage<Error>(HasSubstr("token id 340")));
  EXPECT_THAT(generate({5, -1}), ThrowsMessage<Error>(HasSubstr("token id -1")));
}

TEST_F(GeneratorTest, WeightsThatAreNotNumbersAreNamed) {
  test::GoldenModel golden = test::golden_models().front();
  TextModel model{"some/folder", golden.config, golden.weights(), model_.tokenizer};
  model.weights.layers[1].self_attn.o_proj.weight.f32()[7] = std::nanf("");
  const Transformer transformer(model.config, model.weights, 64);
  const Generator generator(context_, transformer, model.tokenizer, {});
  EXPECT_THAT(
      [&] { blame_non_finite_weights(model, [&] { generator.generate(golden.tokens, greedy(1)); }); },
      ThrowsMessage<Error>(AllOf(HasSubstr("some/folder"), HasSubstr("model.layers.1.self_attn.o_proj"))));
}

TEST_F(GeneratorTest, AnAnswerFollowsItsGrammarAndEndsWhereOnlyTheEndIsLeft) {
  GenerationOptions options = greedy(200);
  options.grammar = {.kind = GrammarRequest::Kind::kGbnf, .text = "root ::= \"yes, \" [a-c]{3} \".\""};
  const Answer answer = generator(model_.end_of_text()).generate(expected_.ids, options);
  EXPECT_THAT(answer.text, testing::MatchesRegex("yes, [a-c][a-c][a-c]\\."));
  EXPECT_EQ(answer.reason, StopReason::end_of_text);
  options.sampling = {.temperature = 1.5, .repetition_penalty = 1.3, .seed = 5};
  EXPECT_THAT(generator(model_.end_of_text()).generate(expected_.ids, options).text,
              testing::MatchesRegex("yes, [a-c][a-c][a-c]\\."));
  options.max_tokens = 2;
  EXPECT_EQ(generator(model_.end_of_text()).generate(expected_.ids, options).reason, StopReason::max_tokens);
  options.grammar.text = "root ::= \"a";
  EXPECT_THAT([&] { generator().generate(expected_.ids, options); },
              ThrowsMessage<Error>(HasSubstr("grammar:1:10: this literal does not end")));
}

}  // namespace
}  // namespace fathom
