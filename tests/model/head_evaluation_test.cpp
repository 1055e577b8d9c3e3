// How the main model takes the drafts of the MTP modules, against whole logits token by token.
#include "model/head_evaluation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/cross_entropy.h"
#include "model/latent_cache.h"
#include "model/transformer.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

std::int32_t best_of(std::span<const float> row) {
  return static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin());
}

class HeadEvaluationTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  Context context_{pool_};
  ModelConfig config_ = test::tiny_v3();
  TransformerWeights weights_;

  void use_modules(std::int64_t count, std::uint64_t seed) {
    config_.num_nextn_predict_layers = count;
    weights_ = random_weights(config_, seed);
  }

  std::vector<std::int32_t> random_tokens(std::int64_t count, std::uint64_t seed) const {
    Rng rng(seed);
    std::vector<std::int32_t> tokens;
    for (std::int64_t i = 0; i < count; ++i)
      tokens.push_back(static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(config_.vocab_size))));
    return tokens;
  }

  Tensor embedding(std::span<const std::int32_t> tokens) const {
    const std::int64_t hidden = config_.hidden_size;
    Tensor x = Tensor::empty({static_cast<std::int64_t>(tokens.size()), hidden});
    for (std::size_t t = 0; t < tokens.size(); ++t)
      std::copy_n(weights_.embed_tokens.f32() + tokens[t] * hidden, hidden,
                  x.f32() + static_cast<std::int64_t>(t) * hidden);
    return x;
  }

  /// [1 + modules] log-probabilities of one sequence alone: depth k's row i is what it says of the token
  /// after place i + k.
  std::vector<Tensor> all_log_probabilities(const Transformer& model,
                                            const std::vector<std::int32_t>& tokens) const {
    const auto length = static_cast<std::int64_t>(tokens.size());
    const RopeTable rope(config_, length);
    std::vector<Tensor> list;
    Tensor state = model.hidden_states(context_, tokens, Sequences::uniform(1, length));
    for (std::int64_t k = 0; k <= config_.num_nextn_predict_layers && k < length; ++k) {
      if (k > 0) {
        const MtpModule module(config_, k - 1, weights_.mtp[static_cast<std::size_t>(k - 1)], rope);
        state =
            module.forward(context_, embedding(std::span(tokens).subspan(static_cast<std::size_t>(k))),
                           state.rows(0, length - k), Sequences::uniform(1, length - k), nullptr, nullptr);
      }
      Tensor logits = model.head(context_, state);
      for (std::int64_t row = 0; row < logits.dim(0); ++row)
        kernels::log_softmax(logits.f32() + row * config_.vocab_size, config_.vocab_size);
      list.push_back(logits);
    }
    return list;
  }

  std::span<const float> row(const Tensor& t, std::int64_t i) const {
    return t.values().subspan(static_cast<std::size_t>(i * config_.vocab_size),
                              static_cast<std::size_t>(config_.vocab_size));
  }
};

TEST_F(HeadEvaluationTest, EqualsABruteForceOverWholeLogits) {
  use_modules(2, 5);
  const Transformer model(config_, weights_, 64);
  // Sequences of many lengths, among them one that has no place for the second module and one for neither.
  const std::vector<std::int64_t> lengths = {9, 2, 40, 1, 17};
  Batch batch;
  batch.sequences.offsets = {0};
  for (const std::int64_t length : lengths)
    batch.sequences.offsets.push_back(batch.sequences.offsets.back() + length);
  batch.tokens = random_tokens(batch.sequences.tokens(), 1);
  batch.targets = random_tokens(batch.sequences.tokens(), 2);
  for (const std::size_t masked : {0U, 5U, 20U, 33U}) batch.targets[masked] = -1;

  std::vector<DraftAcceptance> drafts(2);
  std::vector<double> loss(3, 0.0);
  std::vector<std::int64_t> counted(3, 0);
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    const auto begin = batch.tokens.begin() + batch.sequences.offsets[s];
    const std::vector<Tensor> logs = all_log_probabilities(model, {begin, begin + lengths[s]});
    const auto target = [&](std::int64_t place) {
      return batch.targets[static_cast<std::size_t>(batch.sequences.offsets[s] + place)];
    };
    for (std::size_t k = 0; k < logs.size(); ++k)
      for (std::int64_t i = 0; i < logs[k].dim(0); ++i) {
        const std::int32_t wanted = target(i + static_cast<std::int64_t>(k));
        if (wanted < 0) continue;
        loss[k] -= static_cast<double>(row(logs[k], i)[static_cast<std::size_t>(wanted)]);
        ++counted[k];
      }
    for (std::int64_t start = 0; start < lengths[s]; ++start) {
      bool reached = true;
      double probability = 1;
      for (std::int64_t k = 1; k <= 2 && start + k < lengths[s]; ++k) {
        const auto own = row(logs[static_cast<std::size_t>(k)], start);
        const auto main = row(logs[0], start + k);
        double overlap = 0;
        for (std::size_t v = 0; v < own.size(); ++v)
          overlap += std::min(std::exp(static_cast<double>(own[v])), std::exp(static_cast<double>(main[v])));
        const bool counts = target(start + k) >= 0;
        DraftAcceptance& draft = drafts[static_cast<std::size_t>(k - 1)];
        if (counts && reached) ++draft.offered;
        if (counts) draft.sampled_offered += probability;
        reached = reached && counts && best_of(own) == best_of(main);
        probability *= counts ? overlap : 0.0;
        if (counts && reached) ++draft.accepted;
        draft.sampled_accepted += probability;
      }
    }
  }

  const Losses losses = model.forward(context_, batch, LossFactors{}, nullptr);
  EXPECT_EQ(losses.targets, counted[0]);
  EXPECT_NEAR(losses.main, loss[0] / static_cast<double>(counted[0]), 1e-5);
  ASSERT_EQ(losses.drafts.size(), 2U);
  for (std::size_t k = 0; k < 2; ++k) {
    SCOPED_TRACE(k + 1);
    EXPECT_NEAR(losses.mtp[k], loss[k + 1] / static_cast<double>(counted[k + 1]), 1e-5);
    EXPECT_EQ(losses.drafts[k].offered, drafts[k].offered);
    EXPECT_EQ(losses.drafts[k].accepted, drafts[k].accepted);
    // f32 probabilities over some 70 tokens.
    EXPECT_NEAR(losses.drafts[k].sampled_offered, drafts[k].sampled_offered, 1e-4);
    EXPECT_NEAR(losses.drafts[k].sampled_accepted, drafts[k].sampled_accepted, 1e-4);
  }
  EXPECT_GT(losses.drafts[0].offered, losses.drafts[0].accepted);
}

TEST_F(HeadEvaluationTest, LossesAreThoseOfTraining) {
  use_modules(1, 7);
  const Transformer model(config_, weights_, 64);
  const Batch batch{random_tokens(60, 3), random_tokens(60, 4), Sequences::uniform(3, 20)};
  Transformer::Saved saved;
  const Losses training = model.forward(context_, batch, LossFactors{}, &saved);
  const Losses evaluation = model.forward(context_, batch, LossFactors{}, nullptr);
  EXPECT_NEAR(evaluation.main, training.main, 1e-6);
  EXPECT_NEAR(evaluation.mtp[0], training.mtp[0], 1e-6);
  EXPECT_EQ(evaluation.targets, training.targets);
}

TEST_F(HeadEvaluationTest, OnItsOwnGreedyTextAcceptedDraftsAreTheTextItself) {
  // Drafting for real: the text is what the main model generates token by token, and a draft is taken when it
  // is the token that came. Small vocabulary, so that an untrained module hits sometimes.
  config_.vocab_size = 4;
  use_modules(1, 11);
  const Transformer model(config_, weights_, 128);
  std::vector<std::int32_t> text = {2, 3};
  LatentCache cache(config_, 128);
  Tensor hidden = model.forward_cached(context_, text, cache);
  while (text.size() < 100) {
    const Tensor logits = model.head(context_, hidden.rows(hidden.dim(0) - 1, hidden.dim(0)));
    text.push_back(best_of(logits.values()));
    hidden = model.forward_cached(context_, {&text.back(), 1}, cache);
  }
  const std::vector<Tensor> logs = all_log_probabilities(model, text);
  std::int64_t taken = 0;
  for (std::int64_t i = 0; i + 2 < static_cast<std::int64_t>(text.size()); ++i)
    taken += best_of(row(logs[1], i)) == text[static_cast<std::size_t>(i + 2)] ? 1 : 0;

  Batch batch{{text.begin(), text.end() - 1}, {text.begin() + 1, text.end()}, Sequences::uniform(1, 99)};
  const Losses losses = model.forward(context_, batch, LossFactors{}, nullptr);
  EXPECT_EQ(losses.drafts[0].offered, 98);
  // Where the prompt's own second token was not the model's choice, both sides still agree about the rest.
  EXPECT_EQ(losses.drafts[0].accepted, taken);
  EXPECT_GT(taken, 0);
}

TEST_F(HeadEvaluationTest, TokensPerStepCountsWholeChains) {
  std::vector<DraftAcceptance> drafts(2);
  drafts[0] = {.offered = 100, .accepted = 80, .sampled_offered = 100, .sampled_accepted = 70};
  drafts[1] = {.offered = 80, .accepted = 40, .sampled_offered = 70, .sampled_accepted = 35};
  EXPECT_DOUBLE_EQ(tokens_per_step(drafts), 1 + 0.8 + 0.8 * 0.5);
  EXPECT_DOUBLE_EQ(drafts[1].sampled_rate(), 0.5);
  EXPECT_DOUBLE_EQ(tokens_per_step({}), 1);
  EXPECT_EQ(DraftAcceptance{}.greedy_rate(), 0);
}

}  // namespace
}  // namespace fathom
