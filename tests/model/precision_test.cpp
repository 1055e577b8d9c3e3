// Training in BF16 and FP8: a linear map's products against PyTorch's emulation, whole models against f32.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "model/fp8_weights.h"
#include "model/linear.h"
#include "model/random_batch.h"
#include "model/transformer.h"
#include "support/binary_reader.h"
#include "support/error_text.h"
#include "support/moe_layer.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::hashed_values;

constexpr Precision kPrecisions[] = {Precision::f32, Precision::bf16, Precision::fp8};

/// The linear map of goldens/make_linear_precision.py.
struct GoldenLinear {
  static constexpr std::int64_t kTokens = 150;
  static constexpr std::int64_t kIn = 200;
  static constexpr std::int64_t kOut = 140;

  Tensor x = hashed_values(1, {kTokens, kIn}, 1.0F);
  Tensor dy = hashed_values(3, {kTokens, kOut}, 1e-9F);
  TransformerWeights weights;  // the map is the first layer's o_proj

  GoldenLinear() {
    for (std::int64_t i = 0; i < x.size(); ++i)
      if (i % kIn >= 130) x.f32()[i] *= 1e-3F;
    for (std::int64_t i = 0; i < dy.size(); ++i)
      if (i / kOut % 3 == 0) dy.f32()[i] *= 100.0F;
    weights.layers.resize(1);
    map().weight = hashed_values(2, {kOut, kIn}, 0.5F);
    for (std::int64_t i = 0; i < map().weight.size(); ++i)
      if (i % kIn >= 128) map().weight.f32()[i] *= 16.0F;
  }
  LinearWeight& map() { return weights.layers[0].self_attn.o_proj; }
};

/// Every 31st element of a product, relative to its largest. f32 sums of 200 products of 8-bit numbers, in
/// another order than the float64 ones, and one rounding of each operand's scales.
void expect_product(const Tensor& got, test::BinaryReader& golden, const std::string& what) {
  constexpr std::int64_t kSample = 31;
  const auto expected =
      golden.next_array<float>(static_cast<std::size_t>((got.size() + kSample - 1) / kSample));
  float largest = 0;
  for (const float value : expected) largest = std::max(largest, std::fabs(value));
  ASSERT_GT(largest, 0);
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(got.f32()[static_cast<std::int64_t>(i) * kSample] / largest, expected[i] / largest, 2e-6)
        << what << ", " << i;
}

TEST(PrecisionTest, TheThreeProductsEqualPyTorchsEmulation) {
  GoldenLinear linear;
  ThreadPool pool(2);
  test::BinaryReader golden(test::golden("model/goldens/linear_precision.bin"));
  const auto weight_gradient = [&](const Context& context, const Kept& x) {
    LinearWeight grad;
    grad.weight = Tensor::zeros(linear.map().weight.shape());
    linear_backward_weight(context, linear.dy, x, grad);
    return grad.weight;
  };
  const auto expect_all = [&](const Context& context, const Kept& x, const std::string& what) {
    expect_product(linear_forward(context, linear.map(), x), golden, what + " Fprop");
    expect_product(linear_backward_input(context, linear.map(), linear.dy), golden, what + " Dgrad");
    expect_product(weight_gradient(context, x), golden, what + " Wgrad");
  };
  const Context bf16{pool, Precision::bf16};
  expect_all(bf16, linear_input(bf16, linear.x), "bf16");
  const Context fp8{pool, Precision::fp8};
  quantize_weights(fp8, linear.weights);
  expect_all(fp8, linear_input(fp8, linear.x), "fp8");
  expect_all(fp8, linear_input(fp8, linear.x, ScaleFormat::power_of_two), "fp8, powers of two");
  const TileScaling power{ScaleFormat::power_of_two, kActivationScaling.least_amax};
  expect_product(weight_gradient(fp8, Kept(fp8, linear.x, RowFormat::e5m6, power)), golden, "e5m6 Wgrad");
  EXPECT_TRUE(golden.at_end());
}

TEST(PrecisionTest, AProductIsTheSameFromTensorsAndFromWhatWasMadeOfThem) {
  GoldenLinear linear;
  ThreadPool pool(2);
  for (const Precision precision : kPrecisions) {
    const Context context{pool, precision};
    quantize_weights(context, linear.weights);
    const Tensor y = linear_forward(context, linear.map(), linear.x);
    EXPECT_THAT(linear_forward(context, linear.map(), linear_input(context, linear.x)).values(),
                testing::ElementsAreArray(y.values()));
    Tensor dx = linear_backward_input(context, linear.map(), linear.dy);
    const Tensor once = dx.clone();
    linear_backward_input(context, linear.map(), linear.dy, dx, /*accumulate=*/true);
    for (std::int64_t i = 0; i < dx.size(); ++i)
      ASSERT_NEAR(dx.f32()[i], 2 * once.f32()[i], 1e-10) << "Dgrad is added to what is there";
  }
}

TEST(PrecisionTest, AWeightThatWasNotQuantisedIsRefused) {
  GoldenLinear linear;
  ThreadPool pool(1);
  EXPECT_EQ(test::error_of([&] {
              linear_forward({pool, Precision::fp8}, linear.map(), linear.x);
            }),
            "a weight of shape [140, 200] is not quantised: call quantize_weights first");
}

TEST(PrecisionTest, WhatIsKeptTakesTheBytesOfItsFormat) {
  ThreadPool pool(1);
  const Context context{pool};
  const Tensor x = hashed_values(1, {10, 2, 128}, 1.0F);
  EXPECT_EQ(Kept(context, x, RowFormat::f32).byte_size(), 10 * 256 * 4);
  EXPECT_EQ(Kept(context, x, RowFormat::bf16).byte_size(), 10 * 256 * 2);
  EXPECT_EQ(Kept(context, x, RowFormat::e4m3).byte_size(), 10 * (256 + 2 * 4));
  EXPECT_EQ(Kept(context, x, RowFormat::e5m6).byte_size(), 10 * (256 * 3 / 2 + 2 * 4));
  EXPECT_EQ(Kept(context, x, RowFormat::e5m6).f32(context).shape(), x.shape());
  EXPECT_THAT(test::error_of([&] { (void)Kept(context, x, RowFormat::e5m6).operand(); }),
              testing::HasSubstr("not multiplied"));
}

/// A model with more than one tile along every dimension. All four experts are chosen, so that rounding
/// cannot change which; what it does to the choice is no error of the products.
ModelConfig tiled_model() {
  ModelConfig config = test::tiny_v3();
  config.hidden_size = 160;
  config.intermediate_size = 200;
  config.moe_intermediate_size = 136;
  config.q_lora_rank = 132;
  config.kv_lora_rank = 140;
  config.qk_nope_head_dim = 48;
  config.qk_rope_head_dim = 16;
  config.v_head_dim = 72;
  config.n_routed_experts = 4;
  config.num_experts_per_tok = 4;
  config.n_group = 1;
  config.topk_group = 1;
  config.num_nextn_predict_layers = 1;
  config.initializer_range = 0.006;  // as the report trains
  return config;
}

struct NamedGradient {
  ParameterSpec spec;
  std::vector<float> values;
};

struct PrecisePass {
  Losses losses;
  std::vector<NamedGradient> gradients;

  PrecisePass(const ModelConfig& config, TransformerWeights& weights, const Batch& batch, Precision precision,
              std::size_t threads = 2) {
    ThreadPool pool(threads);
    const Context context{pool, precision};
    if (precision == Precision::fp8) quantize_weights(context, weights);
    const Transformer model(config, weights, 128);
    Transformer::Saved saved;
    losses = model.forward(context, batch, {}, &saved);
    TransformerWeights grads = zero_weights(config);
    model.backward(context, batch, {}, 1.0, saved, grads);
    visit_parameters(config, grads, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
      gradients.push_back({spec, {value.values().begin(), value.values().end()}});
    });
  }
};

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return aa == 0 && bb == 0 ? 1.0 : ab / std::sqrt(aa * bb);
}

/// E4M3 rounds to within 1/16, some 2 % of a value's size in the mean; a gradient passes through a dozen such
/// roundings. BF16's are 16 times finer.
TEST(PrecisionTest, GradientsPointWhereThoseOfF32Do) {
  const ModelConfig config = tiled_model();
  TransformerWeights weights = random_weights(config, 3);
  const Batch batch = random_batch(config, 2, 80, 7);
  const PrecisePass wide(config, weights, batch, Precision::f32);
  struct Bounds {
    Precision precision;
    double similarity;
    double loss;
  };
  for (const Bounds& bounds : {Bounds{Precision::bf16, 0.9999, 1e-4}, {Precision::fp8, 0.99, 1e-3}}) {
    const PrecisePass narrow(config, weights, batch, bounds.precision);
    EXPECT_NEAR(narrow.losses.main, wide.losses.main, bounds.loss * wide.losses.main);
    EXPECT_NEAR(narrow.losses.mtp.at(0), wide.losses.mtp.at(0), bounds.loss * wide.losses.mtp.at(0));
    EXPECT_NE(narrow.losses.main, wide.losses.main) << "it was computed in f32";
    double least = 1;
    for (std::size_t i = 0; i < wide.gradients.size(); ++i) {
      const ParameterSpec& spec = wide.gradients[i].spec;
      const double similarity = cosine(narrow.gradients[i].values, wide.gradients[i].values);
      EXPECT_GT(similarity, bounds.similarity) << spec.name;
      least = std::min(least, similarity);
    }
    RecordProperty(bounds.precision == Precision::fp8 ? "fp8" : "bf16", std::to_string(least));
  }
}

TEST(PrecisionTest, ThreadsDoNotChangeABitInAnyPrecision) {
  const ModelConfig config = tiled_model();
  TransformerWeights weights = random_weights(config, 3);
  const Batch batch = random_batch(config, 2, 40, 7);
  for (const Precision precision : kPrecisions) {
    const PrecisePass one(config, weights, batch, precision, 1);
    for (const std::size_t threads : {2U, 3U}) {
      const PrecisePass more(config, weights, batch, precision, threads);
      EXPECT_EQ(one.losses.main, more.losses.main);
      for (std::size_t i = 0; i < one.gradients.size(); ++i)
        ASSERT_EQ(one.gradients[i].values, more.gradients[i].values) << one.gradients[i].spec.name;
    }
  }
}

/// `quantize_weights` leaves out none that is multiplied in FP8: that would be an error here.
TEST(PrecisionTest, EveryKindOfModelTrainsInEveryPrecision) {
  for (const test::NamedConfig& model : test::tiny_models()) {
    SCOPED_TRACE(model.name);
    TransformerWeights weights = random_weights(model.config, 3);
    const Batch batch = random_batch(model.config, 2, 9, 7);
    const double expected = PrecisePass(model.config, weights, batch, Precision::f32).losses.main;
    for (const Precision precision : {Precision::bf16, Precision::fp8}) {
      const PrecisePass pass(model.config, weights, batch, precision);
      EXPECT_NEAR(pass.losses.main, expected, 0.05 * expected);
      for (const NamedGradient& gradient : pass.gradients)
        for (const float value : gradient.values) ASSERT_TRUE(std::isfinite(value)) << gradient.spec.name;

      ThreadPool pool(1);
      const Context context{pool, precision};
      const Transformer transformer(model.config, weights, 64);
      LatentCache cache(model.config, 9);
      const std::span<const std::int32_t> text = std::span(batch.tokens).first(9);
      for (const Tensor& logits :
           {transformer.head(context, transformer.forward_cached(context, text, cache)),
            transformer.head(context, transformer.hidden_states(context, text, Sequences::uniform(1, 9)))})
        for (const float value : logits.values()) ASSERT_TRUE(std::isfinite(value)) << "of the head";
    }
  }
}

TEST(PrecisionTest, ANaNOrInfinityReachesTheLoss) {
  const ModelConfig config = tiled_model();
  const Batch batch = random_batch(config, 1, 20, 7);
  ThreadPool pool(2);
  for (const Precision precision : kPrecisions) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const bool in_embedding : {true, false}) {
        TransformerWeights weights = random_weights(config, 3);
        (in_embedding ? weights.embed_tokens : weights.layers[1].moe.experts[2].up_proj.weight).values()[5] =
            bad;
        if (in_embedding) weights.embed_tokens.f32()[batch.tokens[3] * config.hidden_size] = bad;
        const Context context{pool, precision};
        quantize_weights(context, weights);
        const Transformer model(config, weights, 128);
        Transformer::Saved saved;
        EXPECT_FALSE(std::isfinite(model.forward(context, batch, {}, &saved).main));
      }
    }
  }
}

}  // namespace
}  // namespace fathom
