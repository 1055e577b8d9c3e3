// Speculation inside the engine: many answers at once are what they are without drafts.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "infer/engine.h"
#include "infer/generator.h"
#include "infer/lookup_drafter.h"
#include "infer/model_drafter.h"
#include "infer/mtp_drafter.h"
#include "support/answer_distribution.h"
#include "support/error_text.h"
#include "support/ranks.h"
#include "support/serving.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::ask;
using test::Asked;
using test::EngineSetup;
using test::with_engine;
using Ids = std::vector<std::int32_t>;

/// Knows what each of some texts becomes, and drafts that, or now and then something else. Whatever it is
/// told of must be the beginning of one of them.
class KnownTextsDrafter : public Drafter {
 public:
  KnownTextsDrafter(std::vector<Ids> texts, double right) : texts_(std::move(texts)), right_(right) {}

  [[nodiscard]] std::unique_ptr<State> begin(std::int64_t) const override {
    return std::make_unique<Place>();
  }
  void read(State& state, std::span<const std::int32_t> tokens, const Tensor& hidden) const override {
    EXPECT_TRUE(!hidden.defined() || hidden.dim(0) == static_cast<std::int64_t>(tokens.size()));
    Ids& read = static_cast<Place&>(state).read;
    read.insert(read.end(), tokens.begin(), tokens.end());
    EXPECT_TRUE(known(read) != nullptr) << "no text begins with what was told";
  }
  void draft(const Context&, std::span<Job> jobs) const override {
    for (Job& job : jobs) {
      auto& place = static_cast<Place&>(job.state);
      Ids now = place.read;
      now.push_back(job.next);
      const Ids* text = known(now);
      EXPECT_TRUE(text != nullptr);
      for (std::size_t i = 0; text != nullptr && i < static_cast<std::size_t>(job.count); ++i) {
        const bool is_right = now.size() + i < text->size() && place.rng.uniform() < right_;
        job.drafts.push_back(is_right ? (*text)[now.size() + i] : 2);
      }
    }
  }
  [[nodiscard]] std::int64_t bytes_per_token() const override { return 0; }
  [[nodiscard]] double cost_of_draft() const override { return 0.01; }
  [[nodiscard]] double expected_acceptance() const override { return 0.7; }

 private:
  struct Place : State {
    Ids read;
    Rng rng{1};
  };
  [[nodiscard]] const Ids* known(const Ids& beginning) const {
    for (const Ids& text : texts_)
      if (text.size() >= beginning.size() && std::equal(beginning.begin(), beginning.end(), text.begin()))
        return &text;
    return nullptr;
  }

  std::vector<Ids> texts_;
  double right_;
};

/// A request, and what comes of it without drafts, alone.
struct Expected {
  Ids prompt;
  GenerationOptions options;
  Answer answer;
};

class EngineSpeculationTest : public testing::Test {
 protected:
  static ModelConfig with_module() {
    ModelConfig config = test::tiny_v3();
    config.num_nextn_predict_layers = 1;
    return config;
  }

  [[nodiscard]] Answer generate(const Ids& prompt, const GenerationOptions& options,
                                const std::vector<std::int64_t>& end_of_text = {}) const {
    return Generator(context_, transformer_, model_.tokenizer, end_of_text).generate(prompt, options);
  }

  /// Prompts of different lengths, some of which begin alike, and every way to sample.
  [[nodiscard]] std::vector<Expected> requests(std::size_t count, std::int64_t most_tokens) const {
    std::vector<Expected> all;
    Rng rng(7);
    const auto below = [&](std::int64_t end) {
      return static_cast<std::int64_t>(rng.uniform() * static_cast<double>(end));
    };
    for (std::size_t i = 0; i < count; ++i) {
      Expected one;
      if (i % 3 == 2) one.prompt = all.back().prompt;
      for (std::int64_t j = 0, length = 1 + below(24); j < length; ++j)
        one.prompt.push_back(static_cast<std::int32_t>(3 + below(57)));
      one.options.sampling.seed = i;
      one.options.sampling.temperature = i % 2 == 0 ? 0.0 : 0.9;
      if (i % 4 == 1) one.options.sampling.top_p = 0.9;
      if (i % 4 >= 2) one.options.sampling.repetition_penalty = 1.2;
      one.options.max_tokens = 1 + below(most_tokens);
      one.options.ignore_eos = true;
      one.answer = generate(one.prompt, one.options);
      all.push_back(std::move(one));
    }
    return all;
  }

  static std::vector<Ids> whole_texts(const std::vector<Expected>& requests) {
    std::vector<Ids> texts;
    for (const Expected& one : requests) {
      texts.push_back(one.prompt);
      texts.back().insert(texts.back().end(), one.answer.tokens.begin(), one.answer.tokens.end());
    }
    return texts;
  }

  static EngineSetup knowing(std::vector<Ids> texts, double right, SpeculationOptions how = {3, false}) {
    EngineSetup setup;
    setup.drafter = [texts = std::move(texts), right](const Transformer&) {
      return std::make_unique<KnownTextsDrafter>(texts, right);
    };
    setup.speculation = how;
    setup.engine.cache.page_positions = 8;
    return setup;
  }

  /// All are asked for at times that differ.
  void expect_answers(const EngineSetup& setup, const std::vector<Expected>& requests) const {
    with_engine(model_, setup, [&](Engine& engine) {
      Rng rng(3);
      std::vector<Asked> asked;
      for (const Expected& one : requests) {
        asked.push_back(ask(engine, one.prompt, one.options));
        std::this_thread::sleep_for(std::chrono::microseconds(static_cast<int>(2000 * rng.uniform())));
      }
      for (std::size_t i = 0; i < asked.size(); ++i) {
        const Outcome outcome = asked[i].outcome.get();
        EXPECT_EQ(outcome.error, "");
        EXPECT_EQ(outcome.answer.tokens, requests[i].answer.tokens) << "request " << i;
        EXPECT_EQ(outcome.answer.text, requests[i].answer.text);
        EXPECT_EQ(*asked[i].streamed, requests[i].answer.text);
        EXPECT_EQ(outcome.answer.reason, requests[i].answer.reason);
      }
      engine.drain();
    });
  }

  ModelConfig config_ = with_module();
  TextModel model_{"", config_, random_weights(config_, 3),
                   Tokenizer::load(test::tiny_checkpoint("tiny_f32"))};
  Transformer transformer_{config_, model_.weights, config_.max_position_embeddings};
  ThreadPool pool_{1};
  Context context_{pool_};
};

TEST_F(EngineSpeculationTest, AnswersAreThoseWithoutWhoeverDraftsAndHoweverTheyArrive) {
  const std::vector<Expected> all = requests(16, 60);
  const auto with_vocabulary = config_.vocab_size;
  for (const SpeculationOptions& how :
       {SpeculationOptions{7, true}, SpeculationOptions{1, false}, SpeculationOptions{7, false}})
    for (const std::int64_t step_tokens : {512, 5}) {
      EngineSetup setup = knowing(whole_texts(all), 0.7, how);
      setup.engine.step_tokens = step_tokens;
      expect_answers(setup, all);
      setup.drafter = [](const Transformer&) { return std::make_unique<LookupDrafter>(); };
      expect_answers(setup, all);
      setup.drafter = [=](const Transformer& model) {
        return std::make_unique<MtpDrafter>(model, with_vocabulary);
      };
      expect_answers(setup, all);
    }
}

TEST_F(EngineSpeculationTest, AnswersAreTheSameWhereThereIsTooLittleMemoryForAll) {
  const std::vector<Expected> all = requests(12, 60);
  std::int64_t longest = 0;
  for (const Ids& text : whole_texts(all))
    longest = std::max(longest, static_cast<std::int64_t>(text.size()));
  const auto with_vocabulary = config_.vocab_size;
  for (const bool shares : {true, false})
    for (const std::int64_t positions : {longest + 8, 3 * longest}) {
      SCOPED_TRACE(fmt::format("{} positions, {}", positions, shares ? "shared" : "not shared"));
      EngineSetup setup = knowing(whole_texts(all), 0.7, {5, false});
      setup.engine.cache.positions = positions;
      setup.engine.cache.shares_prefixes = shares;
      expect_answers(setup, all);
      setup.drafter = [=](const Transformer& model) {
        return std::make_unique<MtpDrafter>(model, with_vocabulary);
      };
      expect_answers(setup, all);
    }
}

TEST_F(EngineSpeculationTest, AnswersEndWithinAcceptedDraftsWhereTheyEndWithout) {
  GenerationOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = 40;
  const Ids prompt = {5, 9, 30, 9, 30, 12, 44, 3};
  const Answer whole = generate(prompt, options);
  std::vector<Ids> text = {prompt};
  text[0].insert(text[0].end(), whole.tokens.begin(), whole.tokens.end());
  const auto answer_of = [&](const EngineSetup& setup, const GenerationOptions& asked) {
    Answer answer;
    with_engine(model_, setup,
                [&](Engine& engine) { answer = ask(engine, prompt, asked).outcome.get().answer; });
    return answer;
  };
  for (std::size_t place = 0; place < 12; ++place) {
    EngineSetup setup = knowing(text, 1.0, {7, false});
    setup.end_of_text = {whole.tokens[place]};
    const Answer at_end = answer_of(setup, options);
    const Answer expected = generate(prompt, options, setup.end_of_text);
    EXPECT_EQ(at_end.tokens, expected.tokens);
    EXPECT_EQ(at_end.reason, StopReason::end_of_text);

    setup.end_of_text = {};
    GenerationOptions stopped = options;
    stopped.stop = {whole.text.substr(place, 2)};
    EXPECT_EQ(answer_of(setup, stopped).text, generate(prompt, stopped).text);
    EXPECT_EQ(answer_of(setup, stopped).reason, StopReason::stop_string);

    GenerationOptions shorter = options;
    shorter.max_tokens = static_cast<std::int64_t>(place) + 1;
    EXPECT_EQ(answer_of(setup, shorter).tokens, generate(prompt, shorter).tokens);
  }
}

TEST_F(EngineSpeculationTest, DraftsFollowGrammarsToTheirEnd) {
  const TextModel trained = load_text_model(test::tiny_checkpoint("tiny_f32"));
  const Transformer transformer(trained.config, trained.weights, trained.config.max_position_embeddings);
  const std::vector<std::int64_t> end = trained.end_of_text();
  GenerationOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = 60;
  std::vector<Expected> all;
  for (const char* grammar : {"root ::= [0-9]{12}", "root ::= (\"ab\" | \"abc\")+ \".\"", "root ::= [a-z ]*"})
    for (const double temperature : {0.0, 0.8})
      for (const test::TinyExpectation& one : test::tiny_expectations("tiny_f32")) {
        Expected expected{one.ids, options, {}};
        expected.options.grammar = {.kind = GrammarRequest::Kind::kGbnf, .text = grammar};
        expected.options.sampling.temperature = temperature;
        expected.answer =
            Generator(context_, transformer, trained.tokenizer, end).generate(one.ids, expected.options);
        all.push_back(std::move(expected));
      }
  std::vector<Ids> texts = whole_texts(all);
  for (Ids& text : texts) text.push_back(static_cast<std::int32_t>(end.front()));
  for (const double right : {1.0, 0.6}) {
    EngineSetup setup = knowing(texts, right, {5, false});
    setup.end_of_text = end;
    with_engine(trained, setup, [&](Engine& engine) {
      std::vector<Asked> asked;
      for (const Expected& one : all) asked.push_back(ask(engine, one.prompt, one.options));
      for (std::size_t i = 0; i < all.size(); ++i) {
        const Outcome outcome = asked[i].outcome.get();
        EXPECT_EQ(outcome.error, "");
        EXPECT_EQ(outcome.answer.text, all[i].answer.text);
        EXPECT_EQ(outcome.answer.reason, all[i].answer.reason);
      }
    });
  }
}

TEST_F(EngineSpeculationTest, WhoIsCancelledAmongDraftsLeavesTheOthersAloneAndFreesItsMemory) {
  GenerationOptions endless;
  endless.sampling.temperature = 0;
  const Ids prompt = {5, 9, 30};
  const std::vector<Expected> others = requests(4, 60);
  std::vector<Ids> texts = whole_texts(others);
  texts.push_back(prompt);
  const Answer whole = generate(prompt, endless);
  texts.back().insert(texts.back().end(), whole.tokens.begin(), whole.tokens.end());
  EngineSetup setup = knowing(texts, 0.8);
  setup.engine.cache.positions = 256;
  with_engine(model_, setup, [&](Engine& engine) {
    std::vector<Asked> asked;
    for (const Expected& one : others) asked.push_back(ask(engine, one.prompt, one.options));
    std::vector<Asked> cancelled;
    for (int i = 0; i < 3; ++i) {
      std::promise<void> speaks;
      std::atomic<bool> has_spoken = false;
      Asked one = ask(engine, prompt, endless, [&] {
        if (!has_spoken.exchange(true)) speaks.set_value();
      });
      speaks.get_future().wait();
      engine.cancel(one.request);
      EXPECT_EQ(one.outcome.get().error, "");
    }
    for (std::size_t i = 0; i < others.size(); ++i)
      EXPECT_EQ(asked[i].outcome.get().answer.tokens, others[i].answer.tokens);
    // It takes all pages there are.
    EXPECT_EQ(ask(engine, prompt, endless).outcome.get().answer.tokens, whole.tokens);
  });
}

TEST_F(EngineSpeculationTest, SampledAnswersAreExactInDistribution) {
  constexpr int kAnswers = 700;
  const Ids prompt = {5, 9, 30, 9, 30, 12, 44, 3};
  GenerationOptions options;
  options.max_tokens = 3;
  options.sampling = {.temperature = 1.5, .top_k = 4};
  const auto expected = test::continuations(context_, transformer_, prompt, options.sampling, 3);
  const auto with_vocabulary = config_.vocab_size;
  const auto seen_with = [&](const EngineSetup& setup, bool accepts) {
    std::map<Ids, int> seen;
    with_engine(model_, setup, [&](Engine& engine) {
      std::vector<Asked> asked;
      for (int seed = 0; seed < kAnswers; ++seed) {
        options.sampling.seed = static_cast<std::uint64_t>(seed);
        asked.push_back(ask(engine, prompt, options));
      }
      for (Asked& one : asked) ++seen[one.outcome.get().answer.tokens];
      EXPECT_GT(engine.speculation().checked, kAnswers / 2);
      EXPECT_GT(engine.speculation().accepted, accepts ? kAnswers / 2 : -1);
    });
    return seen;
  };
  EngineSetup setup;
  setup.engine.max_waiting = kAnswers;
  setup.speculation = {2, false};
  for (const bool agrees : {true, false}) {  // a drafter with the model, or hardly ever
    setup.drafter = [=](const Transformer& model) -> std::unique_ptr<Drafter> {
      if (agrees) return std::make_unique<ModelDrafter>(model, model, with_vocabulary);
      return std::make_unique<MtpDrafter>(model, with_vocabulary);
    };
    const test::ChiSquare chi = test::chi_square(expected, seen_with(setup, agrees));
    EXPECT_EQ(chi.impossible, 0);
    EXPECT_GT(chi.freedom, 10);
    EXPECT_LT(chi.statistic, chi.limit()) << chi.freedom << " degrees of freedom";
  }
}

TEST_F(EngineSpeculationTest, StatisticsTellWhatBecameOfDrafts) {
  GenerationOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = 41;
  std::vector<Expected> two = {{{5, 9, 30}, options, {}}, {{7, 8}, options, {}}};
  for (Expected& one : two) one.answer = generate(one.prompt, one.options);
  const EngineSetup setup = knowing(whole_texts(two), 1.0);
  with_engine(model_, setup, [&](Engine& engine) {
    for (const Expected& one : two) {
      const SpeculationStats stats =
          ask(engine, one.prompt, one.options).outcome.get().answer.stats.speculation;
      EXPECT_EQ(stats.passes, 10) << "the first token comes out of the prompt's, then four a pass";
      EXPECT_EQ(stats.drafted, 30);
      EXPECT_EQ(stats.checked, 30);
      EXPECT_EQ(stats.accepted, 30);
    }
    EXPECT_EQ(engine.speculation().drafted, 60);
    EXPECT_EQ(engine.speculation().accepted, 60);
    EXPECT_EQ(engine.speculation().places.size(), 3U);
  });
  with_engine(model_, {}, [&](Engine& engine) {
    EXPECT_EQ(ask(engine, {5, 9}, options).outcome.get().answer.stats.speculation.passes, 0);
  });
}

TEST_F(EngineSpeculationTest, SequencesSpreadOverProcessesGetNoDrafts) {
  test::on_ranks(2, [&](Communicator& job) {
    ServingRank rank(pool_, transformer_, model_.tokenizer, job, serving_layout(2, 0), {}, {});
    const LookupDrafter lookup;
    Speculation speculation(config_, lookup, {});
    EXPECT_THAT(test::error_of([&] { rank.runner().speculate(speculation); }),
                testing::HasSubstr("2 processes cannot have drafts"));
  });
}

}  // namespace
}  // namespace fathom
