// MTP modules over caches of their own, against the forward pass of whole sequences.

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
#include "model/transformer.h"
#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

/// The cached pass absorbs W^UK and W^UV, the whole one expands keys and values: f32 sums round otherwise.
constexpr double kOtherForm = 1e-5;

double relative_difference(std::span<const float> got, std::span<const float> expected) {
  EXPECT_EQ(got.size(), expected.size());
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(got[i]) - expected[i]));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return difference / largest;
}

class MtpCachedTest : public testing::Test {
 protected:
  static constexpr std::int64_t kTokens = 40;

  MtpCachedTest() {
    Rng rng(3);
    for (std::int64_t i = 0; i < kTokens; ++i)
      tokens_.push_back(static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(config_.vocab_size))));
  }

  static ModelConfig two_modules() {
    ModelConfig config = test::tiny_v3();
    config.num_nextn_predict_layers = 2;
    return config;
  }

  [[nodiscard]] std::span<const std::int32_t> tokens_from(std::int64_t begin, std::int64_t count) const {
    return std::span(tokens_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
  }

  /// [1 + modules] states of the whole sequence, without caches; module k has k + 1 rows less.
  [[nodiscard]] std::vector<Tensor> whole_states() const {
    const RopeTable rope(config_, kTokens);
    std::vector<Tensor> states = {model_.hidden_states(context_, tokens_, Sequences::uniform(1, kTokens))};
    for (std::int64_t k = 1; k <= config_.num_nextn_predict_layers; ++k) {
      const MtpModule module(config_, k - 1, weights_.mtp[static_cast<std::size_t>(k - 1)], rope);
      const std::int64_t rows = kTokens - k;
      states.push_back(module.forward(context_, embed(weights_.embed_tokens, tokens_from(k, rows)),
                                      states.back().rows(0, rows), Sequences::uniform(1, rows), nullptr,
                                      nullptr));
    }
    return states;
  }

  /// A module's states of rows [begin, begin + count) of the sequence, over its cache.
  Tensor cached_rows(std::int64_t module, std::int64_t begin, std::int64_t count, const Tensor& states,
                     LatentCache& cache) const {
    const Sequences one = Sequences::uniform(1, count);
    LatentCache* const caches[] = {&cache};
    return model_.mtp_forward_cached(context_, module, tokens_from(begin + 1 + module, count),
                                     states.rows(begin, begin + count), {one, caches});
  }

  ModelConfig config_ = two_modules();
  TransformerWeights weights_ = random_weights(config_, 5);
  Transformer model_{config_, weights_, 64};
  ThreadPool pool_{2};
  Context context_{pool_};
  std::vector<std::int32_t> tokens_;
};

TEST_F(MtpCachedTest, StatesAreThoseOfTheWholeSequenceHoweverItIsCut) {
  const std::vector<Tensor> whole = whole_states();
  for (std::int64_t module = 0; module < 2; ++module) {
    const std::int64_t rows = kTokens - 1 - module;
    LatentCache cache = model_.make_mtp_cache(rows);
    std::vector<float> got;
    for (std::int64_t begin = 0, count = 17; begin < rows; begin += count, count = begin % 4 + 1) {
      count = std::min(count, rows - begin);
      const Tensor part = cached_rows(module, begin, count, whole[static_cast<std::size_t>(module)], cache);
      got.insert(got.end(), part.values().begin(), part.values().end());
    }
    EXPECT_LT(relative_difference(got, whole[static_cast<std::size_t>(module) + 1].values()), kOtherForm)
        << "module " << module;
  }
}

TEST_F(MtpCachedTest, RowsTakenBackLeaveNoTrace) {
  const Tensor states = whole_states().front();
  LatentCache cache = model_.make_mtp_cache(kTokens);
  cached_rows(0, 0, 20, states, cache);
  const Tensor expected = cached_rows(0, 20, 3, states, cache).clone();
  cache.truncate(20);
  const std::vector<std::int32_t> others = {1, 2, 3};
  const Sequences one = Sequences::uniform(1, 3);
  LatentCache* const caches[] = {&cache};
  model_.mtp_forward_cached(context_, 0, others, states.rows(0, 3), {one, caches});
  cache.truncate(20);
  const Tensor again = cached_rows(0, 20, 3, states, cache);
  EXPECT_EQ(cache.length(), 23);
  EXPECT_THAT(again.values(), testing::ElementsAreArray(expected.values()));
}

TEST_F(MtpCachedTest, SequencesTogetherHaveTheStatesOfEachAlone) {
  const Tensor states = whole_states().front();
  LatentCache alone = model_.make_mtp_cache(kTokens);
  LatentCache first = model_.make_mtp_cache(kTokens);
  LatentCache second = model_.make_mtp_cache(kTokens);
  const Tensor expected = cached_rows(0, 0, 12, states, alone);
  cached_rows(0, 0, 9, states, second);

  std::vector<std::int32_t> tokens(tokens_from(1, 12).begin(), tokens_from(1, 12).end());
  tokens.insert(tokens.end(), tokens_from(10, 3).begin(), tokens_from(10, 3).end());
  Tensor joined = Tensor::empty({15, config_.hidden_size});
  std::ranges::copy(states.rows(0, 12).values(), joined.f32());
  std::ranges::copy(states.rows(9, 12).values(), joined.f32() + 12 * config_.hidden_size);
  LatentCache* const caches[] = {&first, &second};
  const Tensor got = model_.mtp_forward_cached(context_, 0, tokens, joined, {Sequences{{0, 12, 15}}, caches});
  EXPECT_LT(relative_difference(got.rows(0, 12).values(), expected.values()), kOtherForm);
  EXPECT_LT(relative_difference(got.rows(12, 15).values(), expected.rows(9, 12).values()), kOtherForm);
}

TEST_F(MtpCachedTest, AModuleThatIsNotThereIsRefused) {
  LatentCache cache = model_.make_mtp_cache(4);
  EXPECT_THAT(test::error_of([&] { cached_rows(2, 0, 1, whole_states().front(), cache); }),
              testing::HasSubstr("the model has 2 MTP modules, and no number 2"));
}

}  // namespace
}  // namespace fathom
