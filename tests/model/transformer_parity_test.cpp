// The whole model against transformers' DeepseekV2ForCausalLM and DeepseekV3ForCausalLM.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/transformer.h"
#include "support/golden_models.h"

namespace fathom {
namespace {

using test::GoldenModel;
using test::GradientDigest;

/// Of f32 against float64: an f32 sum of a few dozen terms through a few layers is off by some 1e-6.
constexpr double kParity = 1e-4;
/// Of two ways to the same f32 result.
constexpr double kSameResult = 1e-5;

/// Largest difference, relative to the largest expected value.
double relative_error(std::span<const float> got, std::span<const float> expected) {
  EXPECT_EQ(got.size(), expected.size());
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    difference = std::isnan(error) ? INFINITY : std::max(difference, error);
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return difference / largest;
}

class TransformerParityTest : public testing::TestWithParam<std::size_t> {
 protected:
  const GoldenModel& golden_ = test::golden_models().at(GetParam());
  TransformerWeights weights_ = golden_.weights();
  Transformer transformer_{golden_.config, weights_, 64};
  ThreadPool pool_{2};
  Context context_{pool_};

  Tensor whole_sequence_logits(std::int64_t s) const {
    const std::vector<std::int32_t> tokens = golden_.sequence(s);
    const auto alone = Sequences::uniform(1, static_cast<std::int64_t>(tokens.size()));
    return transformer_.head(context_, transformer_.hidden_states(context_, tokens, alone));
  }

  /// Logits of a sequence that enters the cache in pieces of `block` tokens.
  std::vector<float> cached_logits(const std::vector<std::int32_t>& tokens, std::size_t block,
                                   LatentCache& cache) const {
    std::vector<float> logits;
    for (std::size_t begin = 0; begin < tokens.size(); begin += block) {
      const std::size_t count = std::min(block, tokens.size() - begin);
      const Tensor hidden =
          transformer_.forward_cached(context_, std::span(tokens).subspan(begin, count), cache);
      const Tensor part = transformer_.head(context_, hidden);
      logits.insert(logits.end(), part.values().begin(), part.values().end());
    }
    return logits;
  }
};

TEST_P(TransformerParityTest, LogitsAreThoseOfTransformers) {
  const Tensor hidden = transformer_.hidden_states(context_, golden_.tokens, golden_.sequences);
  const Tensor logits = transformer_.head(context_, hidden);
  EXPECT_LT(relative_error(logits.values(), golden_.logits), kParity);
}

TEST_P(TransformerParityTest, TokensGoToTheSameExperts) {
  Batch batch{golden_.tokens, std::vector<std::int32_t>(golden_.tokens.size(), 0), golden_.sequences};
  Transformer::Saved saved;
  transformer_.forward(context_, batch, LossFactors{}, &saved);
  std::size_t moe_layer = 0;
  for (std::int64_t layer = 0; layer < golden_.config.num_hidden_layers; ++layer) {
    if (!golden_.config.is_moe_layer(layer)) continue;
    const Routing& routing = saved.blocks[static_cast<std::size_t>(layer)].moe.router.routing;
    const auto& expected = golden_.routing.at(moe_layer++);
    ASSERT_EQ(expected.size(), golden_.tokens.size());
    for (std::size_t t = 0; t < expected.size(); ++t) {
      const auto first = routing.experts.begin() + static_cast<std::int64_t>(t) * routing.top_k;
      std::vector<std::int32_t> experts(first, first + routing.top_k);
      std::ranges::sort(experts);
      EXPECT_EQ(experts, expected[t]) << "layer " << layer << ", token " << t;
    }
  }
  EXPECT_EQ(moe_layer, golden_.routing.size());
}

TEST_P(TransformerParityTest, DecodingByTokenEqualsTheWholeSequence) {
  for (std::int64_t s = 0; s < golden_.sequences.count(); ++s) {
    LatentCache cache(golden_.config, 16);
    const std::vector<float> logits = cached_logits(golden_.sequence(s), 1, cache);
    EXPECT_LT(relative_error(logits, whole_sequence_logits(s).values()), kSameResult);
  }
}

TEST_P(TransformerParityTest, PrefillInBlocksEqualsTheWholeSequence) {
  for (const std::size_t block : {2U, 5U, 16U}) {
    LatentCache cache(golden_.config, 16);
    const std::vector<float> logits = cached_logits(golden_.sequence(0), block, cache);
    EXPECT_LT(relative_error(logits, whole_sequence_logits(0).values()), kSameResult)
        << "blocks of " << block;
  }
}

TEST_P(TransformerParityTest, TruncatedCacheContinuesAsIfTheRestHadNeverBeen) {
  const std::vector<std::int32_t> first = golden_.sequence(0);
  std::vector<std::int32_t> second(first.begin(), first.begin() + 4);
  for (const std::int32_t token : golden_.sequence(1)) second.push_back(token);

  LatentCache fresh(golden_.config, 16);
  const std::vector<float> expected = cached_logits(second, 1, fresh);

  LatentCache reused(golden_.config, 16);
  cached_logits(first, 1, reused);
  reused.truncate(4);
  const std::vector<float> logits = cached_logits({second.begin() + 4, second.end()}, 1, reused);
  const auto tail = std::span(expected).last(logits.size());
  EXPECT_TRUE(std::ranges::equal(logits, tail));
}

TEST_P(TransformerParityTest, CacheHoldsTheLatentAndTheRotatedKeyAndNothingElse) {
  const LatentCache cache(golden_.config, 16);
  ASSERT_EQ(cache.layers.size(), static_cast<std::size_t>(golden_.config.num_hidden_layers));
  EXPECT_EQ(
      cache.table().layout().position_bytes(),
      golden_.config.num_hidden_layers * (golden_.config.kv_lora_rank + golden_.config.qk_rope_head_dim) * 4);
}

std::vector<std::size_t> models(bool with_gradients_only) {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < test::golden_models().size(); ++i)
    if (!with_gradients_only || test::golden_models()[i].has_gradients) indices.push_back(i);
  return indices;
}

std::string model_name(const testing::TestParamInfo<std::size_t>& info) {
  return test::golden_models()[info.param].name;
}

INSTANTIATE_TEST_SUITE_P(Models, TransformerParityTest, testing::ValuesIn(models(false)), model_name);

class TransformerGradientTest : public TransformerParityTest {
 protected:
  const Batch batch_{golden_.tokens, golden_.targets, golden_.sequences};
};

TEST_P(TransformerGradientTest, LossesAreThoseOfAutograd) {
  Transformer::Saved saved;
  const Losses losses = transformer_.forward(context_, batch_, golden_.factors, &saved);
  EXPECT_NEAR(losses.main, golden_.main_loss, kSameResult * golden_.main_loss);
  ASSERT_EQ(losses.mtp.size(), golden_.mtp_losses.size());
  for (std::size_t k = 0; k < losses.mtp.size(); ++k)
    EXPECT_NEAR(losses.mtp[k], golden_.mtp_losses[k], kSameResult * golden_.mtp_losses[k]) << "MTP " << k;
  EXPECT_NEAR(losses.balance, golden_.balance_loss, kSameResult * golden_.balance_loss);
  EXPECT_NEAR(losses.total(golden_.factors), golden_.total_loss, kSameResult * golden_.total_loss);
}

TEST_P(TransformerGradientTest, GradientsAreThoseOfAutograd) {
  Transformer::Saved saved;
  transformer_.forward(context_, batch_, golden_.factors, &saved);
  TransformerWeights grads = zero_weights(golden_.config);
  transformer_.backward(context_, batch_, golden_.factors, 1.0, saved, grads);

  std::map<std::string, const GradientDigest*> expected;
  double largest_norm = 0;
  for (const GradientDigest& digest : golden_.gradients) {
    expected[digest.parameter] = &digest;
    largest_norm = std::max(largest_norm, static_cast<double>(digest.norm));
  }
  std::size_t seen = 0;
  visit_parameters(golden_.config, grads, [&](const ParameterSpec& spec, Tensor& gradient, Tensor*) {
    double norm = 0;
    for (const float value : gradient.values()) norm += static_cast<double>(value) * value;
    norm = std::sqrt(norm);
    if (spec.kind == ParameterKind::router_bias) {
      EXPECT_EQ(norm, 0.0) << spec.name << " only selects";
      return;
    }
    ++seen;
    ASSERT_TRUE(expected.contains(spec.name)) << spec.name;
    const GradientDigest& digest = *expected[spec.name];
    // The error e is a vector; each projection sees e · r with r uniform in [-0.5, 0.5), whose mean square
    // is |e|² / 12. Parameters that a token barely touches are held to the size of the largest gradient.
    const double allowed = kParity * std::max(static_cast<double>(digest.norm), 1e-3 * largest_norm);
    EXPECT_NEAR(norm, digest.norm, allowed) << spec.name;
    double mean_square = 0;
    for (std::size_t p = 0; p < digest.projections.size(); ++p) {
      const std::vector<float> direction = test::named_random_values(
          golden_.seed, "projection " + std::to_string(p) + " of " + spec.name, gradient.size());
      double product = 0;
      for (std::size_t i = 0; i < direction.size(); ++i)
        product += static_cast<double>(gradient.values()[i]) * static_cast<double>(direction[i]);
      const double error = product - static_cast<double>(digest.projections[p]);
      mean_square += error * error / static_cast<double>(digest.projections.size());
    }
    EXPECT_LT(std::sqrt(12.0 * mean_square), allowed) << spec.name;
  });
  EXPECT_EQ(seen, golden_.gradients.size());
}

TEST_P(TransformerGradientTest, ResultsDoNotDependOnTheThreadCount) {
  const auto gradients_with = [&](std::size_t threads) {
    ThreadPool pool(threads);
    const Context context{pool};
    Transformer::Saved saved;
    transformer_.forward(context, batch_, golden_.factors, &saved);
    Tensor arena;
    TransformerWeights grads = zero_weights(golden_.config, &arena);
    transformer_.backward(context, batch_, golden_.factors, 1.0, saved, grads);
    return std::vector<float>(arena.values().begin(), arena.values().end());
  };
  EXPECT_EQ(gradients_with(1), gradients_with(3));
}

INSTANTIATE_TEST_SUITE_P(Models, TransformerGradientTest, testing::ValuesIn(models(true)), model_name);

}  // namespace
}  // namespace fathom
