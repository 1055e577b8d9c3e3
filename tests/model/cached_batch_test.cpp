// Several sequences in one pass over their latent caches, against each one alone.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/random_batch.h"
#include "model/transformer.h"
#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

/// How products are cut depends on how many tokens there are, so that f32 sums round otherwise.
constexpr double kAnotherCut = 1e-5;

/// A sequence that gets so many tokens in each pass.
struct Member {
  std::vector<std::int64_t> tokens;  // [passes]
  std::int64_t total() const {
    std::int64_t sum = 0;
    for (const std::int64_t count : tokens) sum += count;
    return sum;
  }
};

std::int32_t member_token(const ModelConfig& config, std::size_t member, std::int64_t position) {
  return static_cast<std::int32_t>((7 * static_cast<std::int64_t>(member) + position * position + 3) %
                                   config.vocab_size);
}

/// Largest difference, relative to the largest expected value.
double largest_difference(std::span<const float> got, std::span<const float> expected) {
  EXPECT_EQ(got.size(), expected.size());
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference =
        std::max(difference, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return difference / largest;
}

class CachedBatchTest : public testing::TestWithParam<test::NamedConfig> {
 protected:
  const ModelConfig& config_ = GetParam().config;
  TransformerWeights weights_ = random_weights(config_, 5);
  Transformer model_{config_, weights_, 128};
  ThreadPool pool_{2};
  Context context_{pool_};

  /// Runs the passes; hidden states of each member, all its tokens'.
  std::vector<std::vector<float>> run_together(const std::vector<Member>& members,
                                               ExpertCounts* counts = nullptr) const {
    std::vector<std::unique_ptr<LatentCache>> caches;
    std::vector<LatentCache*> list;
    for (const Member& member : members) {
      caches.push_back(std::make_unique<LatentCache>(config_, std::max<std::int64_t>(1, member.total())));
      list.push_back(caches.back().get());
    }
    std::vector<std::vector<float>> hidden(members.size());
    for (std::size_t pass = 0; pass < members.front().tokens.size(); ++pass) {
      Sequences sequences{{0}};
      std::vector<std::int32_t> tokens;
      for (std::size_t m = 0; m < members.size(); ++m) {
        const std::int64_t before = list[m]->length();
        for (std::int64_t i = 0; i < members[m].tokens[pass]; ++i)
          tokens.push_back(member_token(config_, m, before + i));
        sequences.offsets.push_back(static_cast<std::int64_t>(tokens.size()));
      }
      const Tensor out = model_.forward_cached(context_, tokens, {sequences, list}, counts);
      for (std::size_t m = 0; m < members.size(); ++m) {
        const Tensor rows = out.rows(sequences.offsets[m], sequences.offsets[m + 1]);
        hidden[m].insert(hidden[m].end(), rows.values().begin(), rows.values().end());
      }
    }
    return hidden;
  }

  std::vector<float> run_alone(std::size_t m, const Member& member) const {
    LatentCache cache(config_, member.total());
    std::vector<float> hidden;
    for (const std::int64_t count : member.tokens) {
      if (count == 0) continue;
      std::vector<std::int32_t> tokens;
      for (std::int64_t i = 0; i < count; ++i) tokens.push_back(member_token(config_, m, cache.length() + i));
      const Tensor out = model_.forward_cached(context_, tokens, cache);
      hidden.insert(hidden.end(), out.values().begin(), out.values().end());
    }
    return hidden;
  }
};

TEST_P(CachedBatchTest, SequencesTogetherHaveTheHiddenStatesOfEachAlone) {
  // Chunks of prompts beside single tokens, sequences that come later and that pause, one that has none.
  const std::vector<Member> members = {{{1, 1, 1, 1}}, {{40, 1, 1, 0}}, {{0, 17, 30, 1}},
                                       {{0, 0, 0, 0}}, {{0, 1, 0, 1}},  {{9, 9, 9, 9}}};
  const std::vector<std::vector<float>> together = run_together(members);
  for (std::size_t m = 0; m < members.size(); ++m) {
    if (members[m].total() == 0) continue;
    EXPECT_LT(largest_difference(together[m], run_alone(m, members[m])), kAnotherCut) << "sequence " << m;
  }
}

TEST_P(CachedBatchTest, AFewTokensAtOnceHaveTheBitsOfOneByOne) {
  // What speculation relies on, so that drafts change no answer.
  const std::vector<float> one_by_one = run_alone(0, {{20, 1, 1, 1, 1, 1, 1, 1, 1}});
  for (const std::vector<std::int64_t>& cut : {std::vector<std::int64_t>{20, 8}, {20, 3, 5}, {20, 2, 6}})
    EXPECT_EQ(run_alone(0, {cut}), one_by_one);
}

TEST_P(CachedBatchTest, APassWithoutTokensIsLegal) {
  const Tensor none = model_.forward_cached(context_, {}, CachedTokens<LatentCache>{Sequences{{0}}, {}});
  EXPECT_EQ(none.shape(), (Shape{0, config_.hidden_size}));
}

TEST_P(CachedBatchTest, ExpertsAreCountedByLayer) {
  ExpertCounts counts;
  run_together({{{3, 1}}, {{2, 1}}}, &counts);
  std::size_t moe_layers = 0;
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) moe_layers += config_.is_moe_layer(i) ? 1 : 0;
  ASSERT_EQ(counts.size(), moe_layers);
  for (const std::vector<std::int64_t>& layer : counts) {
    ASSERT_EQ(static_cast<std::int64_t>(layer.size()), config_.n_routed_experts);
    std::int64_t sum = 0;
    for (const std::int64_t count : layer) sum += count;
    EXPECT_EQ(sum, 7 * config_.num_experts_per_tok);
  }
}

TEST_P(CachedBatchTest, AFullCacheIsRefusedBeforeAnyIsChanged) {
  LatentCache roomy(config_, 8);
  LatentCache small(config_, 1);
  LatentCache* const caches[] = {&roomy, &small};
  const std::vector<std::int32_t> tokens = {3, 4, 5};
  EXPECT_THAT(test::error_of([&] {
                model_.forward_cached(context_, tokens, {Sequences{{0, 1, 3}}, caches});
              }),
              testing::HasSubstr("2 tokens do not fit a cache of 1"));
  EXPECT_EQ(roomy.length(), 0);
}

INSTANTIATE_TEST_SUITE_P(Models, CachedBatchTest, testing::ValuesIn(test::tiny_models()),
                         [](const auto& model) { return model.param.name; });

}  // namespace
}  // namespace fathom
