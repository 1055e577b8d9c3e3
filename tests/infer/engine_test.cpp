#include "infer/engine.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "base/thread_pool.h"
#include "infer/generator.h"
#include "infer/prefix_tiers.h"
#include "infer/text_model.h"
#include "model/fingerprint.h"
#include "support/error_text.h"
#include "support/serving.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using test::ask;
using test::Asked;
using test::EngineSetup;
using test::with_engine;
using testing::HasSubstr;

GenerationOptions always_best(std::int64_t max_tokens) {
  GenerationOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

struct Spread {
  int ranks = 1;
  int prefill = 0;
  std::int64_t redundant = 0;
  std::int64_t step_tokens = 512;
};

class EngineTest : public testing::TestWithParam<Spread> {
 protected:
  TextModel model_ = load_text_model(test::tiny_checkpoint("tiny_f32"));
  std::vector<test::TinyExpectation> expected_ = test::tiny_expectations("tiny_f32");

  [[nodiscard]] static EngineSetup setup() {
    EngineSetup setup;
    setup.ranks = GetParam().ranks;
    setup.prefill = GetParam().prefill;
    setup.placement.redundant_experts = GetParam().redundant;
    setup.engine.step_tokens = GetParam().step_tokens;
    setup.engine.cache.page_positions = 8;
    return setup;
  }
  [[nodiscard]] Answer generate(const std::vector<std::int32_t>& prompt,
                                const GenerationOptions& options) const {
    ThreadPool pool(1);
    const Context context{pool};
    const Transformer transformer(model_.config, model_.weights, model_.config.max_position_embeddings);
    return Generator(context, transformer, model_.tokenizer, {}).generate(prompt, options);
  }
};

TEST_P(EngineTest, GreedyAnswersAreThoseOfTransformersAndOfGenerator) {
  with_engine(model_, setup(), [&](Engine& engine) {
    std::vector<Asked> asked;
    for (int round = 0; round < 3; ++round)
      for (const test::TinyExpectation& one : expected_)
        asked.push_back(ask(engine, one.ids, always_best(static_cast<std::int64_t>(one.answer_ids.size()))));
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const test::TinyExpectation& one = expected_[i % expected_.size()];
      const Outcome outcome = asked[i].outcome.get();
      EXPECT_EQ(outcome.error, "");
      EXPECT_EQ(outcome.answer.tokens, one.answer_ids);
      EXPECT_EQ(outcome.answer.text, one.answer);
      EXPECT_EQ(*asked[i].streamed, one.answer);
      EXPECT_EQ(outcome.answer.reason, StopReason::max_tokens);
      EXPECT_EQ(outcome.answer.stats.prompt_tokens, static_cast<std::int64_t>(one.ids.size()));
      EXPECT_EQ(outcome.answer.stats.decode_steps, static_cast<std::int64_t>(one.answer_ids.size()) - 1);
    }
  });
}

TEST_P(EngineTest, SampledAnswersAreThoseOfGeneratorWithTheSameSeed) {
  with_engine(model_, setup(), [&](Engine& engine) {
    std::vector<Asked> asked;
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      GenerationOptions options = always_best(20);
      options.sampling = {.temperature = 0.9, .top_p = 0.95, .repetition_penalty = 1.1, .seed = seed};
      asked.push_back(ask(engine, expected_.front().ids, options));
    }
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      GenerationOptions options = always_best(20);
      options.sampling = {.temperature = 0.9, .top_p = 0.95, .repetition_penalty = 1.1, .seed = seed};
      EXPECT_EQ(asked[seed].outcome.get().answer.tokens, generate(expected_.front().ids, options).tokens);
    }
  });
}

TEST_P(EngineTest, AnswersFollowTheirGrammars) {
  EngineSetup with_end = setup();
  with_end.end_of_text = model_.end_of_text();
  GenerationOptions digits = always_best(100);
  digits.grammar = {.kind = GrammarRequest::Kind::kGbnf, .text = "root ::= [0-9]{12}"};
  GenerationOptions unconstrained =
      always_best(static_cast<std::int64_t>(expected_.front().answer_ids.size()));
  with_engine(model_, with_end, [&](Engine& engine) {
    Asked one = ask(engine, expected_.front().ids, digits);
    Asked other = ask(engine, expected_.front().ids, unconstrained);
    const Outcome outcome = one.outcome.get();
    EXPECT_EQ(outcome.error, "");
    EXPECT_THAT(outcome.answer.text, testing::MatchesRegex("[0-9]{12}"));
    EXPECT_EQ(outcome.answer.reason, StopReason::end_of_text);
    EXPECT_EQ(other.outcome.get().answer.tokens, expected_.front().answer_ids);
    digits.ignore_eos = true;
    EXPECT_THAT(test::error_of([&] { ask(engine, expected_.front().ids, digits); }), HasSubstr("ignore_eos"));
    digits.grammar.text = "root ::=";
    digits.ignore_eos = false;
    EXPECT_THAT(ask(engine, expected_.front().ids, digits).outcome.get().answer.text, "");
  });
}

TEST_P(EngineTest, RequestsWaitForRoomAndAllAreAnswered) {
  EngineSetup small = setup();
  small.engine.cache.positions = static_cast<std::int64_t>(expected_.front().ids.size()) + 30;
  with_engine(model_, small, [&](Engine& engine) {
    std::vector<Asked> asked;
    for (int i = 0; i < 12; ++i) asked.push_back(ask(engine, expected_.front().ids, always_best(24)));
    for (Asked& one : asked) EXPECT_EQ(one.outcome.get().answer.tokens, expected_.front().answer_ids);
    engine.drain();
    EXPECT_EQ(engine.under_way(), 0U);
  });
}

TEST_P(EngineTest, ACancelledRequestEndsAndTheOthersDoNotNotice) {
  with_engine(model_, setup(), [&](Engine& engine) {
    GenerationOptions endless = always_best(0);
    endless.ignore_eos = true;
    std::promise<void> speaks;
    std::atomic<bool> has_spoken = false;
    Asked cancelled = ask(engine, expected_.back().ids, endless, [&] {
      if (!has_spoken.exchange(true)) speaks.set_value();
    });
    Asked other = ask(engine, expected_.front().ids, always_best(24));
    speaks.get_future().wait();
    engine.cancel(cancelled.request);
    const Outcome outcome = cancelled.outcome.get();
    // The context is short: the answer may have come to its end just before.
    EXPECT_THAT(outcome.answer.reason, testing::AnyOf(StopReason::cancelled, StopReason::context_full));
    EXPECT_EQ(outcome.answer.text, *cancelled.streamed);
    EXPECT_EQ(other.outcome.get().answer.tokens, expected_.front().answer_ids);
  });
}

TEST_P(EngineTest, EndingTheEngineCancelsWhatIsLeft) {
  std::vector<Asked> asked;
  EngineSetup small = setup();
  small.engine.cache.positions = 128;
  with_engine(model_, small, [&](Engine& engine) {
    GenerationOptions endless = always_best(0);
    endless.ignore_eos = true;
    for (int i = 0; i < 8; ++i) asked.push_back(ask(engine, expected_.front().ids, endless));
  });
  for (Asked& one : asked) EXPECT_EQ(one.outcome.get().error, "");
}

TEST_P(EngineTest, TokensByExpertAreCounted) {
  ExpertCounts counts;
  EngineSetup counting = setup();
  counting.counts = &counts;
  counting.engine.cache.shares_prefixes = false;  // shared tokens do not go through experts
  with_engine(model_, counting, [&](Engine& engine) {
    for (int i = 0; i < 3; ++i) ask(engine, expected_.front().ids, always_best(24)).outcome.wait();
  });
  // The last token of an answer is not fed back.
  const auto tokens = static_cast<std::int64_t>(3 * (expected_.front().ids.size() + 23));
  EXPECT_GT(counts.size(), 0U);
  for (const std::vector<std::int64_t>& layer : counts) {
    std::int64_t sum = 0;
    for (const std::int64_t count : layer) sum += count;
    EXPECT_EQ(sum, tokens * model_.config.num_experts_per_tok);
  }
}

/// Prompts that begin alike in part, with answers of different lengths.
std::vector<std::vector<std::int32_t>> related_prompts(const std::vector<std::int32_t>& ids) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (std::int32_t i = 0; i < 10; ++i) {
    std::vector<std::int32_t> prompt = ids;
    for (std::int32_t j = 0; j < 4 * (i % 5); ++j) prompt.push_back(5 + j + (i % 2) * (j > 6 ? 3 : 0));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

TEST_P(EngineTest, AnswersAreTheSameWhereThereIsTooLittleMemoryForAll) {
  const std::vector<std::vector<std::int32_t>> prompts = related_prompts(expected_.front().ids);
  GenerationOptions options = always_best(40);
  options.ignore_eos = true;
  GenerationOptions sampled = options;
  sampled.sampling = {.temperature = 0.9, .top_p = 0.95, .seed = 3};
  const auto options_of = [&](std::size_t i) { return i % 3 == 2 ? sampled : options; };
  std::vector<std::vector<std::int32_t>> expected;
  for (std::size_t i = 0; i < prompts.size(); ++i)
    expected.push_back(generate(prompts[i], options_of(i)).tokens);
  const auto longest = static_cast<std::int64_t>(expected_.front().ids.size()) + 16 + 40;
  for (const bool shares : {true, false})
    for (const std::int64_t positions : {longest + 8, 2 * longest, 10 * longest}) {
      SCOPED_TRACE(fmt::format("{} positions, {}", positions, shares ? "shared" : "not shared"));
      EngineSetup small = setup();
      small.engine.cache.positions = positions;
      small.engine.cache.shares_prefixes = shares;
      with_engine(model_, small, [&](Engine& engine) {
        std::vector<Asked> asked;
        for (std::size_t i = 0; i < prompts.size(); ++i)
          asked.push_back(ask(engine, prompts[i], options_of(i)));
        for (std::size_t i = 0; i < asked.size(); ++i) {
          const Outcome outcome = asked[i].outcome.get();
          EXPECT_EQ(outcome.error, "");
          EXPECT_EQ(outcome.answer.tokens, expected[i]) << i;
        }
      });
    }
}

TEST_P(EngineTest, WhatIsCancelledGivesItsMemoryBackAtOnce) {
  EngineSetup small = setup();
  small.engine.cache.positions = 128;
  with_engine(model_, small, [&](Engine& engine) {
    GenerationOptions endless = always_best(0);
    endless.ignore_eos = true;
    std::vector<Asked> asked;
    for (int i = 0; i < 6; ++i) asked.push_back(ask(engine, expected_.front().ids, endless));
    for (Asked& one : asked) engine.cancel(one.request);
    for (Asked& one : asked) EXPECT_EQ(one.outcome.get().error, "");
    EXPECT_EQ(ask(engine, expected_.front().ids, always_best(24)).outcome.get().answer.tokens,
              expected_.front().answer_ids);
  });
}

INSTANTIATE_TEST_SUITE_P(Spreads, EngineTest,
                         testing::Values(Spread{}, Spread{1, 0, 0, 3}, Spread{2, 0, 0}, Spread{2, 1, 0, 5},
                                         Spread{4, 0, 4}, Spread{4, 2, 2}, Spread{4, 1, 1}),
                         [](const auto& spread) {
                           return std::to_string(spread.param.ranks) + "Ranks" +
                                  std::to_string(spread.param.prefill) + "PrefillRedundant" +
                                  std::to_string(spread.param.redundant) + "Steps" +
                                  std::to_string(spread.param.step_tokens);
                         });

using OneEngineTest = EngineTest;

TEST_F(OneEngineTest, DecodingGoesOnWhileTheRanksThatReadPromptsAreBusy) {
  EngineSetup two;
  two.ranks = 2;
  two.prefill = 1;
  with_engine(model_, two, [&](Engine& engine) {
    GenerationOptions long_answer = always_best(60);
    long_answer.ignore_eos = true;
    std::promise<void> speaks;
    std::atomic<bool> has_spoken = false;
    Asked first = ask(engine, expected_.front().ids, long_answer, [&] {
      if (!has_spoken.exchange(true)) speaks.set_value();
    });
    speaks.get_future().wait();
    // A request that is cancelled before it is let in ends on the thread that leads the prompts' group: that
    // group stands still until the end of the first answer.
    const test::StandStill still;
    const Engine::Request blocker = engine.submit(expected_.front().ids, always_best(24), {}, still.on_end());
    engine.cancel(blocker);
    still.wait_until_it_stands();
    EXPECT_EQ(first.outcome.get().answer.tokens.size(), 60U);
  });
}

TEST_F(OneEngineTest, ALongPromptDelaysAnswersByNoMoreThanAStep) {
  EngineSetup small_steps;
  small_steps.engine.step_tokens = 4;
  with_engine(model_, small_steps, [&](Engine& engine) {
    std::atomic<int> pieces = 0;
    std::atomic<int> pieces_before = -1;
    std::promise<void> speaks;
    GenerationOptions long_answer = always_best(80);
    long_answer.ignore_eos = true;
    Asked talker = ask(engine, expected_.front().ids, long_answer, [&] {
      if (++pieces == 1) speaks.set_value();
    });
    speaks.get_future().wait();
    // 90 tokens at 3 a step, beside the one of the answer: 30 steps.
    const int at_submission = pieces;
    Asked reader =
        ask(engine, std::vector<std::int32_t>(90, 5), always_best(1), [&] { pieces_before = pieces.load(); });
    reader.outcome.wait();
    talker.outcome.wait();
    ASSERT_GE(pieces_before, 0) << "one token of this model is text";
    EXPECT_GT(pieces_before - at_submission, 5);
    EXPECT_EQ(talker.outcome.get().answer.tokens.size(), 80U);
  });
}

TEST_F(OneEngineTest, WhatCanNeverBeAnsweredIsRefused) {
  EngineSetup small;
  small.engine.cache = {.positions = 45, .page_positions = 8};
  with_engine(model_, small, [&](Engine& engine) {
    const auto error = [&](std::vector<std::int32_t> prompt, std::int64_t max_tokens) {
      return test::error_of([&] { ask(engine, std::move(prompt), always_best(max_tokens)); });
    };
    EXPECT_THAT(error({}, 1), HasSubstr("prompt is empty"));
    EXPECT_THAT(error({5, -1}, 1), HasSubstr("token id -1"));
    EXPECT_THAT(error(std::vector<std::int32_t>(129, 5), 1), HasSubstr("context holds 128"));
    EXPECT_THAT(
        error({5, 6, 7}, 50),
        HasSubstr("a prompt of 3 tokens with an answer of up to 50 needs a latent cache of 52 positions, "
                  "and a process has room for 40"));
    GenerationOptions cold = always_best(1);
    cold.sampling.temperature = -1;
    EXPECT_THROW(ask(engine, {5}, cold), UsageError);
    EXPECT_EQ(engine.under_way(), 0U);
  });
}

TEST_F(OneEngineTest, TheQueueHasAnEnd) {
  EngineSetup small;
  small.engine.cache.positions = 128;
  small.engine.max_waiting = 2;
  with_engine(model_, small, [&](Engine& engine) {
    std::vector<Asked> asked;
    {
      // Nobody is let in meanwhile.
      const test::StandStill still;
      engine.submit({5, 6}, always_best(1), {}, still.on_end());
      still.wait_until_it_stands();
      asked.push_back(ask(engine, {5}, always_best(1)));
      asked.push_back(ask(engine, {5}, always_best(1)));
      EXPECT_EQ(engine.waiting(), 2U);
      EXPECT_THROW(ask(engine, {5}, always_best(1)), QueueIsFull);
    }
    for (Asked& one : asked) EXPECT_EQ(one.outcome.get().answer.tokens.size(), 1U);
    EXPECT_EQ(ask(engine, {5}, always_best(1)).outcome.get().error, "");
  });
}

TEST_F(OneEngineTest, LogitsThatAreNotNumbersEndTheirRequestAlone) {
  TextModel spoilt = load_text_model(test::tiny_checkpoint("tiny_f32"));
  // The embedding of one token.
  spoilt.weights.embed_tokens = spoilt.weights.embed_tokens.clone();
  spoilt.weights.embed_tokens.rows(7, 8).f32()[0] = std::nanf("");
  with_engine(spoilt, {}, [&](Engine& engine) {
    EXPECT_EQ(ask(engine, {5, 7, 6}, always_best(3)).outcome.get().error,
              "the model's logits are not numbers");
    EXPECT_EQ(ask(engine, {5, 6}, always_best(1)).outcome.get().error, "");
  });
}

TEST_F(OneEngineTest, ALongAnswerIsNotStarvedByShortOnesThatComeLater) {
  EngineSetup small;
  small.engine.cache = {.positions = 128, .page_positions = 8};
  with_engine(model_, small, [&](Engine& engine) {
    GenerationOptions endless = always_best(0);
    endless.ignore_eos = true;
    Asked longest = ask(engine, expected_.front().ids, endless);
    std::vector<Asked> shorter;
    for (int i = 0; i < 20; ++i) shorter.push_back(ask(engine, {5, 6, 7 + i}, always_best(20)));
    const Outcome outcome = longest.outcome.get();
    EXPECT_EQ(outcome.answer.reason, StopReason::context_full);
    for (Asked& one : shorter) EXPECT_EQ(one.outcome.get().error, "");
  });
}

TEST_F(OneEngineTest, TheBeginningOfAPromptIsReadOnce) {
  EngineSetup one;
  one.engine.cache.page_positions = 8;
  with_engine(model_, one, [&](Engine& engine) {
    const auto tokens = static_cast<std::int64_t>(expected_.front().ids.size());
    EXPECT_EQ(ask(engine, expected_.front().ids, always_best(24)).outcome.get().answer.stats.cached_tokens,
              0);
    const Answer again = ask(engine, expected_.front().ids, always_best(24)).outcome.get().answer;
    EXPECT_EQ(again.tokens, expected_.front().answer_ids);
    EXPECT_EQ(again.stats.cached_tokens, tokens - 1) << "all but the last, which has to be read to go on";
    EXPECT_EQ(engine.hits().prompt_tokens, 2 * tokens);
    EXPECT_EQ(engine.hits().cached_tokens, tokens - 1);
  });
}

TEST_F(OneEngineTest, AnAnswerIsPartOfTheNextPromptsBeginning) {
  EngineSetup one;
  one.engine.cache.page_positions = 4;
  with_engine(model_, one, [&](Engine& engine) {
    std::vector<std::int32_t> talk = expected_.front().ids;
    const Answer first = ask(engine, talk, always_best(24)).outcome.get().answer;
    talk.insert(talk.end(), first.tokens.begin(), first.tokens.end());
    talk.push_back(5);
    const Answer second = ask(engine, talk, always_best(24)).outcome.get().answer;
    EXPECT_GT(second.stats.cached_tokens, static_cast<std::int64_t>(talk.size()) - 6);
    EXPECT_EQ(second.tokens, generate(talk, always_best(24)).tokens);
  });
}

TEST_F(OneEngineTest, PrefixesOutliveTheEngineInTheirFolder) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "engine_prefixes";
  std::filesystem::remove_all(folder);
  for (const LatentType type : {LatentType::f32, LatentType::q8}) {
    const CacheOptions cache{.type = type, .positions = 512, .page_positions = 4};
    const LatentPageLayout layout(model_.config, type, cache.page_positions);
    const CacheFileKey key{model_fingerprint(model_.config, model_.weights), layout.row, layout.layers};
    std::vector<std::int32_t> expected;
    for (const bool is_first : {true, false}) {
      // Through memory the second time, which is written to the folder when the engine ends.
      PrefixTiers tiers(type == LatentType::f32 ? 0 : 1 << 20U,
                        std::make_unique<PrefixStore>(folder, 1 << 24U, key, cache.page_positions));
      for (const int ranks : {1, 2}) {
        EngineSetup setup;
        setup.ranks = ranks;
        setup.engine.cache = cache;
        setup.engine.tiers = &tiers;
        with_engine(model_, setup, [&](Engine& engine) {
          const Answer answer = ask(engine, expected_.front().ids, always_best(24)).outcome.get().answer;
          if (is_first && ranks == 1) {
            EXPECT_EQ(answer.stats.cached_tokens, 0);
            expected = answer.tokens;
          } else {
            EXPECT_GE(answer.stats.cached_tokens + 4,
                      static_cast<std::int64_t>(expected_.front().ids.size()));
            EXPECT_EQ(answer.tokens, expected);
          }
        });
      }
    }
  }
  std::filesystem::remove_all(folder);
}

TEST_F(OneEngineTest, PrefixesThatHadToGoComeBackFromMemory) {
  // Room for one text at a time.
  const std::vector<std::int32_t>& prompt = expected_.front().ids;
  const auto tokens = static_cast<std::int64_t>(prompt.size());
  EngineSetup setup;
  setup.engine.cache = {.positions = (tokens + 24 + 7) / 4 * 4, .page_positions = 4};
  PrefixTiers tiers(1 << 20U, nullptr);
  setup.engine.tiers = &tiers;
  with_engine(model_, setup, [&](Engine& engine) {
    const Answer first = ask(engine, prompt, always_best(24)).outcome.get().answer;
    // Takes every page.
    const std::vector<std::int32_t> other(static_cast<std::size_t>(setup.engine.cache.positions) - 1, 7);
    ask(engine, other, always_best(1)).outcome.get();
    EXPECT_GT(tiers.stats().memory_pages, 0);
    const Answer again = ask(engine, prompt, always_best(24)).outcome.get().answer;
    EXPECT_EQ(again.tokens, first.tokens);
    EXPECT_GE(again.stats.cached_tokens + 4, tokens);
    EXPECT_GT(tiers.stats().loaded_from_memory, 0);
  });
}

TEST_F(OneEngineTest, NarrowCachesAnswerAsAGeneratorWithThemDoes) {
  for (const LatentType type : kernels::kLatentTypes) {
    ThreadPool pool(1);
    const Context context{pool};
    const Transformer transformer(model_.config, model_.weights, model_.config.max_position_embeddings);
    const Answer expected = Generator(context, transformer, model_.tokenizer, {}, nullptr, type)
                                .generate(expected_.front().ids, always_best(24));
    EngineSetup one;
    one.engine.cache = {.type = type, .positions = 100, .page_positions = 8};
    with_engine(model_, one, [&](Engine& engine) {
      std::vector<Asked> asked;
      for (int i = 0; i < 5; ++i) asked.push_back(ask(engine, expected_.front().ids, always_best(24)));
      for (Asked& each : asked) EXPECT_EQ(each.outcome.get().answer.tokens, expected.tokens);
    });
  }
}

TEST_F(OneEngineTest, StopStringsAndEndOfTextEndAnswers) {
  EngineSetup ending;
  ending.end_of_text = {expected_.front().answer_ids[5]};
  with_engine(model_, ending, [&](Engine& engine) {
    const Outcome ended = ask(engine, expected_.front().ids, always_best(24)).outcome.get();
    EXPECT_EQ(ended.answer.reason, StopReason::end_of_text);
    EXPECT_EQ(ended.answer.tokens.size(), 5U);
    GenerationOptions stopping = always_best(24);
    stopping.ignore_eos = true;
    stopping.stop = {expected_.front().answer.substr(3, 3)};
    Asked stopped = ask(engine, expected_.front().ids, stopping);
    const Outcome outcome = stopped.outcome.get();
    EXPECT_EQ(outcome.answer.reason, StopReason::stop_string);
    EXPECT_EQ(outcome.answer.text,
              expected_.front().answer.substr(0, expected_.front().answer.find(stopping.stop[0])));
    EXPECT_EQ(*stopped.streamed, outcome.answer.text);
  });
}

TEST_F(OneEngineTest, AnIdleEngineSleeps) {
  EngineSetup four;
  four.ranks = 4;
  four.prefill = 2;
  with_engine(model_, four, [&](Engine& engine) {
    ask(engine, expected_.front().ids, always_best(24)).outcome.wait();
    // Threads look out for more work for a moment before they sleep.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    // Of all threads together.
    EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.04);
  });
}

TEST(ServingLayoutTest, SomeRanksMustBeLeftToGoOn) {
  EXPECT_FALSE(serving_layout(1, 0).is_disaggregated());
  const ServingLayout layout = serving_layout(5, 2);
  EXPECT_EQ(layout.prefill, (RankRange{0, 2}));
  EXPECT_EQ(layout.decode, (RankRange{2, 5}));
  EXPECT_EQ(layout.group_of(1), layout.prefill);
  EXPECT_EQ(layout.group_of(2), layout.decode);
  EXPECT_THAT(test::error_of([] { serving_layout(2, 2); }), HasSubstr("leave none of 2 to go on"));
}

}  // namespace
}  // namespace fathom
