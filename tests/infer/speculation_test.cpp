// Answers with speculation against answers without: the same, token for token.
#include "infer/speculation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "infer/generator.h"
#include "infer/lookup_drafter.h"
#include "infer/model_drafter.h"
#include "infer/mtp_drafter.h"
#include "model/latent_cache.h"
#include "support/answer_distribution.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

/// Drafts what a text is known to become, and now and then something else.
class OracleDrafter : public Drafter {
 public:
  OracleDrafter(std::vector<std::int32_t> text, double right) : text_(std::move(text)), right_(right) {}

  [[nodiscard]] std::unique_ptr<State> begin(std::int64_t) const override {
    return std::make_unique<Place>();
  }
  void read(State& state, std::span<const std::int32_t> tokens, const Tensor& hidden) const override {
    EXPECT_EQ(hidden.dim(0), static_cast<std::int64_t>(tokens.size()));
    auto& place = static_cast<Place&>(state);
    for (const std::int32_t token : tokens) {
      EXPECT_TRUE(place.read >= text_.size() || token == text_[place.read]) << "token " << place.read;
      ++place.read;
    }
  }
  void draft(const Context&, std::span<Job> jobs) const override {
    for (Job& job : jobs) {
      auto& place = static_cast<Place&>(job.state);
      for (std::int64_t i = 0; i < job.count; ++i) {
        const std::size_t at = place.read + 1 + static_cast<std::size_t>(i);
        const bool is_right = at < text_.size() && place.rng.uniform() < right_;
        job.drafts.push_back(is_right ? text_[at] : 2);
      }
    }
  }
  [[nodiscard]] std::int64_t bytes_per_token() const override { return 0; }
  [[nodiscard]] double cost_of_draft() const override { return 0.01; }
  [[nodiscard]] double expected_acceptance() const override { return 0.7; }

 private:
  struct Place : State {
    std::size_t read = 0;
    Rng rng{1};
  };
  std::vector<std::int32_t> text_;
  double right_;
};

class SpeculationTest : public testing::Test {
 protected:
  static ModelConfig with_module() {
    ModelConfig config = test::tiny_v3();
    config.num_nextn_predict_layers = 1;
    return config;
  }

  [[nodiscard]] Answer plain(const GenerationOptions& options) const {
    return Generator(context_, model_, tokenizer_, {}).generate(prompt_, options);
  }
  [[nodiscard]] Answer speculative(const GenerationOptions& options, const Drafter& drafter,
                                   SpeculationOptions how = {}) const {
    Speculation speculation(config_, drafter, how);
    return Generator(context_, model_, tokenizer_, {}, &speculation).generate(prompt_, options);
  }
  [[nodiscard]] std::vector<std::int32_t> whole_text(const Answer& answer) const {
    std::vector<std::int32_t> text = prompt_;
    text.insert(text.end(), answer.tokens.begin(), answer.tokens.end());
    return text;
  }

  static GenerationOptions options_of(double temperature, std::int64_t tokens) {
    GenerationOptions options;
    options.sampling.temperature = temperature;
    options.sampling.seed = 17;
    options.max_tokens = tokens;
    return options;
  }
  /// Greedy, sampled, and with every filter.
  static std::vector<GenerationOptions> all_options(std::int64_t tokens) {
    std::vector<GenerationOptions> list = {options_of(0, tokens), options_of(1, tokens),
                                           options_of(0.7, tokens), options_of(0, tokens)};
    list[2].sampling.top_k = 20;
    list[2].sampling.top_p = 0.9;
    list[2].sampling.min_p = 0.01;
    list[2].sampling.repetition_penalty = 1.3;
    list[3].sampling.repetition_penalty = 1.2;
    return list;
  }

  ModelConfig config_ = with_module();
  TransformerWeights weights_ = random_weights(config_, 3);
  Transformer model_{config_, weights_, 256};
  Tokenizer tokenizer_ = Tokenizer::load(test::tiny_checkpoint("tiny_f32"));
  std::vector<std::int32_t> prompt_ = {5, 9, 30, 9, 30, 12, 44, 3};
  ThreadPool pool_{1};  // the model is tiny: more threads would wait for each other
  Context context_{pool_};
};

TEST_F(SpeculationTest, AnswersAreThoseWithoutWhateverDraftsAndFromWhom) {
  const MtpDrafter mtp(model_, config_.vocab_size);
  const LookupDrafter lookup;
  const ModelDrafter itself(model_, model_, config_.vocab_size);
  for (const GenerationOptions& options : all_options(60)) {
    const Answer expected = plain(options);
    const OracleDrafter oracle(whole_text(expected), 0.7);
    for (const Drafter* drafter : std::initializer_list<const Drafter*>{&mtp, &lookup, &itself, &oracle})
      for (const SpeculationOptions& how :
           {SpeculationOptions{}, SpeculationOptions{1, false}, SpeculationOptions{7, false}}) {
        const Answer answer = speculative(options, *drafter, how);
        EXPECT_EQ(answer.tokens, expected.tokens);
        EXPECT_EQ(answer.text, expected.text);
        EXPECT_EQ(answer.reason, StopReason::max_tokens);
      }
  }
}

TEST_F(SpeculationTest, ADrafterThatThinksLikeTheModelIsAlwaysRight) {
  const ModelDrafter itself(model_, model_, config_.vocab_size);
  for (const GenerationOptions& options : all_options(100)) {
    const SpeculationStats stats = speculative(options, itself, {4, false}).stats.speculation;
    // Passes of different lengths round differently: a sampled number may fall between two tokens once.
    EXPECT_GE(stats.accepted, stats.checked - 4);
    EXPECT_GT(stats.tokens_per_pass(), 4.0);
  }
}

TEST_F(SpeculationTest, AnswersEndWhereTheyEndWithout) {
  GenerationOptions options = options_of(0, 40);
  const Answer whole = plain(options);
  const OracleDrafter oracle(whole_text(whole), 1.0);
  for (std::int64_t tokens = 1; tokens < 12; ++tokens) {
    options.max_tokens = tokens;
    EXPECT_EQ(speculative(options, oracle, {7, false}).tokens, plain(options).tokens) << tokens;
  }
  // The context ends.
  const Transformer small(config_, weights_, 20);
  for (const std::int64_t wanted : {0, 100}) {
    options.max_tokens = wanted;
    const Answer expected = Generator(context_, small, tokenizer_, {}).generate(prompt_, options);
    const MtpDrafter mtp(small, config_.vocab_size);
    Speculation speculation(config_, mtp, {7, false});
    const Answer answer = Generator(context_, small, tokenizer_, {}, &speculation).generate(prompt_, options);
    EXPECT_EQ(answer.tokens, expected.tokens);
    EXPECT_EQ(answer.reason, StopReason::context_full);
  }
  // A token within the drafts ends the text.
  options.max_tokens = 40;
  const std::vector<std::int64_t> end = {whole.tokens[9]};
  Speculation speculation(config_, oracle, {7, false});
  const Answer answer = Generator(context_, model_, tokenizer_, end, &speculation).generate(prompt_, options);
  const Answer expected = Generator(context_, model_, tokenizer_, end).generate(prompt_, options);
  EXPECT_EQ(answer.reason, StopReason::end_of_text);
  EXPECT_EQ(answer.tokens, expected.tokens);
}

TEST_F(SpeculationTest, StatisticsTellWhatBecameOfDrafts) {
  const GenerationOptions options = options_of(0, 41);
  const Answer whole = plain(options);
  EXPECT_EQ(whole.stats.speculation.passes, 0);
  const OracleDrafter oracle(whole_text(whole), 1.0);
  const SpeculationStats stats = speculative(options, oracle, {3, false}).stats.speculation;
  EXPECT_EQ(stats.passes, 10);  // the first token comes out of the prompt's, then four a pass
  EXPECT_EQ(stats.drafted, 30);
  EXPECT_EQ(stats.accepted, 30);
  EXPECT_DOUBLE_EQ(stats.tokens_per_pass(), 4.0);
  ASSERT_EQ(stats.places.size(), 3U);
  EXPECT_EQ(stats.places[2].offered, 10);
  EXPECT_EQ(stats.places[2].accepted, 10);

  const OracleDrafter wrong({}, 0.0);
  const SpeculationStats refused = speculative(options, wrong, {3, false}).stats.speculation;
  EXPECT_LT(refused.accepted, 6);                                 // token 2 may be right by chance
  EXPECT_EQ(refused.places.front().offered, refused.passes - 1);  // the last has no room for one
}

TEST_F(SpeculationTest, OptionsOutOfRangeAreNamed) {
  EXPECT_THAT(
      [] {
        validate_speculation_options({0, true});
      },
      testing::ThrowsMessage<UsageError>(testing::HasSubstr("draft-tokens is 0")));
  EXPECT_THROW(validate_speculation_options({64, true}), UsageError);
}

TEST_F(SpeculationTest, SampledAnswersAreExactInDistribution) {
  constexpr int kAnswers = 700;
  const MtpDrafter mtp(model_, config_.vocab_size);
  const LookupDrafter lookup;
  const ModelDrafter itself(model_, model_, config_.vocab_size);
  GenerationOptions few = options_of(1.5, 3);
  few.sampling.top_k = 4;
  GenerationOptions filtered = options_of(0.8, 3);
  filtered.sampling.top_k = 6;
  filtered.sampling.top_p = 0.8;
  filtered.sampling.repetition_penalty = 1.4;
  for (GenerationOptions options : {few, filtered}) {
    const auto expected = test::continuations(context_, model_, prompt_, options.sampling, 3);
    for (const Drafter* drafter : std::initializer_list<const Drafter*>{&mtp, &lookup, &itself}) {
      std::map<std::vector<std::int32_t>, int> seen;
      for (int seed = 0; seed < kAnswers; ++seed) {
        options.sampling.seed = static_cast<std::uint64_t>(seed);
        ++seen[speculative(options, *drafter, {2, false}).tokens];
      }
      const test::ChiSquare chi = test::chi_square(expected, seen);
      EXPECT_EQ(chi.impossible, 0);
      EXPECT_GT(chi.freedom, 10);
      EXPECT_LT(chi.statistic, chi.limit()) << chi.freedom << " degrees of freedom";
    }
  }
}

class CheckDraftsTest : public testing::Test {
 protected:
  static Tensor logits_of(const std::vector<std::vector<float>>& rows) {
    Tensor logits = Tensor::empty(
        {static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(rows.front().size())});
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::ranges::copy(rows[i], logits.f32() + i * rows.front().size());
    return logits;
  }
  static Sampler greedy() {
    SamplingOptions options;
    options.temperature = 0;
    return Sampler(options);
  }
  static bool always(std::int32_t) { return true; }
};

TEST_F(CheckDraftsTest, DraftsAreKeptUpToTheFirstThatTheSamplerWouldNotChoose) {
  const Tensor logits = logits_of({{0, 5, 0}, {0, 0, 5}, {5, 0, 0}, {0, 5, 0}});
  Sampler sampler = greedy();
  const std::vector<std::int32_t> drafts = {1, 2, 1};
  const Checked checked = check_drafts(logits, 3, drafts, sampler, always);
  EXPECT_THAT(checked.tokens, testing::ElementsAre(1, 2, 0));
  EXPECT_EQ(checked.accepted, 2);
  EXPECT_FALSE(checked.is_open);
}

TEST_F(CheckDraftsTest, AllAcceptedDraftsAreFollowedByTheModelsOwnToken) {
  const Tensor logits = logits_of({{0, 5, 0}, {0, 0, 5}});
  Sampler sampler = greedy();
  const std::vector<std::int32_t> drafts = {1};
  EXPECT_THAT(check_drafts(logits, 3, drafts, sampler, always).tokens, testing::ElementsAre(1, 2));
}

TEST_F(CheckDraftsTest, AChoiceThatRoundingDecidesIsLeftToAPassOverOneToken) {
  const Tensor logits = logits_of({{0, 5, 0}, {5, 5.00001F, 0}, {5, 0, 0}});
  Sampler sampler = greedy();
  const std::vector<std::int32_t> drafts = {1, 1};
  const Checked checked = check_drafts(logits, 3, drafts, sampler, always);
  EXPECT_THAT(checked.tokens, testing::ElementsAre(1));
  EXPECT_EQ(checked.accepted, 1);
  EXPECT_TRUE(checked.is_open);
  // Without drafts it is such a pass.
  EXPECT_THAT(check_drafts(logits.rows(1, 2), 3, {}, sampler, always).tokens, testing::ElementsAre(1));
}

TEST_F(CheckDraftsTest, NothingIsChosenBehindTheEndOfTheText) {
  const Tensor logits = logits_of({{0, 5, 0}, {0, 0, 5}});
  Sampler sampler = greedy();
  const std::vector<std::int32_t> drafts = {1};
  const Checked checked = check_drafts(logits, 3, drafts, sampler, [](std::int32_t) { return false; });
  EXPECT_THAT(checked.tokens, testing::ElementsAre(1));
}

}  // namespace
}  // namespace fathom
