// Drafts of MTP modules against the forward pass of whole sequences, without caches.
#include "infer/mtp_drafter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "model/embedding.h"
#include "model/mtp.h"
#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using Tokens = std::vector<std::int32_t>;

Sampler greedy_sampler() {
  SamplingOptions options;
  options.temperature = 0;
  return Sampler(options);
}

class MtpDrafterTest : public testing::TestWithParam<std::int64_t> {
 protected:
  static ModelConfig config_with(std::int64_t modules) {
    ModelConfig config = test::tiny_v3();
    config.num_nextn_predict_layers = modules;
    config.max_position_embeddings = 2048;
    return config;
  }

  Tokens random_text(std::size_t count, std::uint64_t seed) const {
    Rng rng(seed);
    Tokens tokens;
    while (tokens.size() < count)
      tokens.push_back(static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(config_.vocab_size))));
    return tokens;
  }

  /// Hidden states of tokens [begin, ...) of a text whose tokens before are in the cache.
  Tensor model_reads(const Tokens& tokens, LatentCache& cache) const {
    return model_.forward_cached(context_, tokens, cache);
  }

  std::int32_t best_of(const Tensor& state) const {
    const Tensor logits = model_.head(context_, state);
    return static_cast<std::int32_t>(std::ranges::max_element(logits.values()) - logits.values().begin());
  }

  /// Drafts as their definition has them: the states of all rows of each depth, made anew. Behind the last
  /// module its row sees its own rows before, and the state of the row before in place of the model's.
  Tokens expected_drafts(Tokens text, std::int32_t next, std::int64_t count) const {
    const RopeTable rope(config_, 1024);
    const auto read = static_cast<std::int64_t>(text.size());
    Tensor below = model_.hidden_states(context_, text, Sequences::uniform(1, read));
    text.push_back(next);
    Tokens drafts;
    std::int64_t rows = read;
    for (std::int64_t depth = 1; depth <= count; ++depth) {
      const std::int64_t module = std::min(depth, config_.num_nextn_predict_layers) - 1;
      if (depth > config_.num_nextn_predict_layers) {
        Tensor longer = Tensor::empty({rows + 1, config_.hidden_size});
        std::ranges::copy(below.values(), longer.f32());
        std::ranges::copy(last_.values(), longer.f32() + rows * config_.hidden_size);
        below = longer;
        ++rows;
      }
      const MtpModule of_depth(config_, module, weights_.mtp[static_cast<std::size_t>(module)], rope);
      const Tensor states = of_depth.forward(
          context_,
          embed(weights_.embed_tokens, std::span(text).subspan(static_cast<std::size_t>(module) + 1)), below,
          Sequences::uniform(1, rows), nullptr, nullptr);
      last_ = states.rows(rows - 1, rows).clone();
      if (depth < config_.num_nextn_predict_layers) below = states;
      drafts.push_back(best_of(last_));
      text.push_back(drafts.back());
    }
    return drafts;
  }

  Tokens drafts(Drafter::State& text, std::int32_t next, std::int64_t count) const {
    const Sampler sampler = greedy_sampler();
    Drafter::Job job{text, next, count, sampler};
    drafter_.draft(context_, {&job, 1});
    return job.drafts;
  }

  ModelConfig config_ = config_with(GetParam());
  TransformerWeights weights_ = random_weights(config_, 11);
  Transformer model_{config_, weights_, 2048};
  ThreadPool pool_{1};  // the model is tiny: more threads would wait for each other
  Context context_{pool_};
  MtpDrafter drafter_{model_, config_.vocab_size};
  mutable Tensor last_;
};

TEST_P(MtpDrafterTest, DraftsAreThoseOfWholeSequencesWhateverBecameOfEarlierOnes) {
  const Tokens text = random_text(60, 1);
  LatentCache cache(config_, 64);
  const std::unique_ptr<Drafter::State> state = drafter_.begin(80);
  std::size_t read = 0;
  // Prompts and steps of several lengths, drafts of several depths: none of them is what comes next.
  const std::vector<std::pair<std::size_t, std::int64_t>> steps = {{9, 4}, {1, 1}, {1, 0}, {3, 3}, {2, 1},
                                                                   {1, 5}, {4, 2}, {1, 4}, {15, 4}};
  for (const auto& [count, wanted] : steps) {
    const Tokens part(text.begin() + static_cast<std::ptrdiff_t>(read),
                      text.begin() + static_cast<std::ptrdiff_t>(read + count));
    drafter_.read(*state, part, model_reads(part, cache));
    read += count;
    if (wanted == 0) continue;
    const Tokens so_far(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(read));
    EXPECT_EQ(drafts(*state, text[read], wanted), expected_drafts(so_far, text[read], wanted))
        << read << " tokens read, " << wanted << " wanted";
  }
}

TEST_P(MtpDrafterTest, TextsTogetherHaveTheDraftsOfEachAlone) {
  std::vector<Tokens> texts = {random_text(12, 2), random_text(5, 3), random_text(15, 4)};
  std::vector<std::unique_ptr<Drafter::State>> states;
  const Sampler sampler = greedy_sampler();
  std::vector<Drafter::Job> jobs;
  std::vector<Tokens> expected;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    LatentCache cache(config_, 64);
    states.push_back(drafter_.begin(64));
    drafter_.read(*states.back(), texts[i], model_reads(texts[i], cache));
    const std::int64_t count = static_cast<std::int64_t>(i) + 1;
    jobs.push_back({*states.back(), 7, count, sampler});
    expected.push_back(expected_drafts(texts[i], 7, count));
  }
  drafter_.draft(context_, jobs);
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(jobs[i].drafts, expected[i]) << "text " << i;
}

TEST_P(MtpDrafterTest, OfALongUnreadTextTheModulesSeeTheLastPart) {
  const Tokens text = random_text(MtpDrafter::kMostPending + 100, 5);
  LatentCache cache(config_, 1024);
  const std::unique_ptr<Drafter::State> state = drafter_.begin(1024);
  drafter_.read(*state, text, model_reads(text, cache));
  EXPECT_EQ(drafts(*state, 7, 3).size(), 3U);
  const Tokens more = random_text(4, 6);
  drafter_.read(*state, more, model_reads(more, cache));
  EXPECT_EQ(drafts(*state, 8, 3).size(), 3U);
}

TEST_P(MtpDrafterTest, TokensWithoutStatesAreLeftOut) {
  const Tokens text = random_text(30, 8);
  LatentCache cache(config_, 64);
  const Tensor hidden = model_reads(text, cache);
  const std::unique_ptr<Drafter::State> whole = drafter_.begin(64);
  drafter_.read(*whole, std::span(text).first(20), {});
  drafter_.read(*whole, std::span(text).subspan(20), hidden.rows(20, 30));
  const std::unique_ptr<Drafter::State> end = drafter_.begin(64);
  drafter_.read(*end, std::span(text).subspan(20), hidden.rows(20, 30));
  EXPECT_EQ(drafts(*whole, 7, 4), drafts(*end, 7, 4));  // positions are relative
}

TEST_P(MtpDrafterTest, LogitsThatAreNotNumbersGiveNoDrafts) {
  weights_.mtp.front().shared_head_norm.f32()[0] = std::nanf("");
  LatentCache cache(config_, 64);
  const std::unique_ptr<Drafter::State> state = drafter_.begin(64);
  const Tokens text = random_text(5, 7);
  drafter_.read(*state, text, model_reads(text, cache));
  EXPECT_TRUE(drafts(*state, 7, 3).empty());
}

INSTANTIATE_TEST_SUITE_P(Modules, MtpDrafterTest, testing::Values(1, 2, 3));

TEST(MtpDrafterWithoutModulesTest, IsRefused) {
  const ModelConfig config = test::tiny_v3();
  const TransformerWeights weights = random_weights(config, 1);
  const Transformer model(config, weights, 16);
  EXPECT_THAT(test::error_of([&] { const MtpDrafter drafter(model, config.vocab_size); }),
              testing::HasSubstr("no MTP module"));
}

}  // namespace
}  // namespace fathom
