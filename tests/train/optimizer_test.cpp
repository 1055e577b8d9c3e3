#include "train/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/json.h"
#include "base/rng.h"
#include "kernels/adamw.h"
#include "kernels/muon.h"
#include "support/moe_layer.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

/// AdamW in double, as its paper writes it.
struct ReferenceAdamW {
  double w, m = 0, v = 0;

  void step(double g, int t, double lr, double decay) {
    constexpr double kBeta1 = 0.9;
    constexpr double kBeta2 = 0.95;
    m = kBeta1 * m + (1 - kBeta1) * g;
    v = kBeta2 * v + (1 - kBeta2) * g * g;
    const double m_hat = m / (1 - std::pow(kBeta1, t));
    const double v_hat = v / (1 - std::pow(kBeta2, t));
    w -= lr * (m_hat / (std::sqrt(v_hat) + 1e-8) + decay * w);
  }
};

/// A model's parameters flattened, in the order of `visit_parameters`.
std::vector<float> flat(const ModelConfig& config, TransformerWeights& weights) {
  std::vector<float> values;
  visit_parameters(config, weights, [&](const ParameterSpec&, Tensor& value, Tensor*) {
    values.insert(values.end(), value.values().begin(), value.values().end());
  });
  return values;
}

void fill_gradients(const ModelConfig& config, TransformerWeights& gradients, std::uint64_t seed) {
  Rng rng(seed);
  visit_parameters(config, gradients, [&](const ParameterSpec&, Tensor& value, Tensor*) {
    for (float& g : value.values()) g = static_cast<float>(rng.normal() * 0.01);
  });
}

class OptimizerTest : public testing::Test {
 protected:
  ModelConfig config_ = test::tiny_v3();
  TransformerWeights weights_ = random_weights(config_, 1);
  ThreadPool pool_{2};
  Context context_{pool_};
};

/// Tolerance: f32 has 24 bits; the weights are near 0.02 and norms at 1, and 20 steps round three times each.
TEST_F(OptimizerTest, FollowsADoubleReference) {
  Optimizer optimizer(config_, weights_);
  std::vector<ReferenceAdamW> reference;
  for (const float w : flat(config_, weights_)) reference.push_back({w});
  const OptimizerSettings settings = {.learning_rate = 3e-3, .gradient_clip = 0};
  for (int t = 1; t <= 20; ++t) {
    fill_gradients(config_, optimizer.gradients(), static_cast<std::uint64_t>(t));
    std::size_t i = 0;
    visit_parameters(config_, optimizer.gradients(), [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
      const bool decays = spec.kind != ParameterKind::norm && spec.kind != ParameterKind::bias;
      for (const float g : value.values()) {
        if (spec.kind != ParameterKind::router_bias) reference[i].step(g, t, 3e-3, decays ? 0.1 : 0.0);
        ++i;
      }
    });
    optimizer.step(context_, settings, t - 1, optimizer.gradient_norm(context_));
  }
  const std::vector<float> got = flat(config_, weights_);
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], reference[i].w, 3e-6) << i;
}

TEST_F(OptimizerTest, RouterBiasIsNeverMoved) {
  Optimizer optimizer(config_, weights_);
  fill_gradients(config_, optimizer.gradients(), 1);
  optimizer.step(context_, {.learning_rate = 1}, 0, optimizer.gradient_norm(context_));
  int biases = 0;
  visit_parameters(config_, weights_, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    if (spec.kind != ParameterKind::router_bias) return;
    ++biases;
    for (const float b : value.values()) EXPECT_EQ(b, 0.0F);
  });
  EXPECT_EQ(biases, 2);
}

TEST_F(OptimizerTest, NormIsThatOfAllGradientsButTheRouterBias) {
  Optimizer optimizer(config_, weights_);
  fill_gradients(config_, optimizer.gradients(), 3);
  double squares = 0;
  visit_parameters(config_, optimizer.gradients(), [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    if (spec.kind == ParameterKind::router_bias) return;
    for (const float g : value.values()) squares += static_cast<double>(g) * g;
  });
  EXPECT_NEAR(optimizer.gradient_norm(context_), std::sqrt(squares), 1e-6 * std::sqrt(squares));
}

/// Adam's direction does not depend on the gradient's length, its moments do.
TEST_F(OptimizerTest, ClippingScalesTheGradientToTheLimit) {
  Optimizer optimizer(config_, weights_);
  fill_gradients(config_, optimizer.gradients(), 5);
  const float g = optimizer.gradients().norm.values()[0];
  const double norm = optimizer.gradient_norm(context_);
  optimizer.step(context_, {.learning_rate = 1e-3, .gradient_clip = norm / 4}, 0, norm);
  EXPECT_NEAR(optimizer.first_moments().norm.values()[0], 0.1 * g / 4, 1e-6 * std::abs(g));

  fill_gradients(config_, optimizer.gradients(), 5);
  optimizer.first_moments().norm.fill_zero();
  optimizer.step(context_, {.learning_rate = 1e-3, .gradient_clip = norm * 2}, 1, norm);
  EXPECT_NEAR(optimizer.first_moments().norm.values()[0], 0.1 * g, 1e-6 * std::abs(g));
}

TEST_F(OptimizerTest, GradientsAreZeroAfterAStep) {
  Optimizer optimizer(config_, weights_);
  fill_gradients(config_, optimizer.gradients(), 1);
  optimizer.step(context_, {.learning_rate = 1e-3}, 0, 1);
  EXPECT_EQ(optimizer.gradient_norm(context_), 0.0);
}

TEST_F(OptimizerTest, ThreadsDoNotChangeABit) {
  std::vector<std::vector<float>> results;
  for (const std::size_t threads : {1U, 2U, 5U}) {
    ThreadPool pool(threads);
    const Context context{pool};
    TransformerWeights weights = random_weights(config_, 1);
    Optimizer optimizer(config_, weights);
    for (int t = 0; t < 3; ++t) {
      fill_gradients(config_, optimizer.gradients(), static_cast<std::uint64_t>(t));
      const double norm = optimizer.gradient_norm(context);
      optimizer.step(context, {.learning_rate = 1e-2, .gradient_clip = norm / 2}, t, norm);
    }
    results.push_back(flat(config_, weights));
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

/// The two runs differ by the moments' rounding alone: 2^-9 of each, where a step's move is about the
/// learning rate.
TEST_F(OptimizerTest, Bf16MomentsFollowF32OnesToTheirPrecision) {
  TransformerWeights other = random_weights(config_, 1);
  Optimizer wide(config_, weights_);
  Optimizer narrow(config_, other, DType::bf16);
  EXPECT_EQ(narrow.first_moments().norm.dtype(), DType::bf16);
  constexpr int kSteps = 20;
  constexpr double kRate = 3e-3;
  for (int t = 0; t < kSteps; ++t) {
    for (Optimizer* optimizer : {&wide, &narrow}) {
      fill_gradients(config_, optimizer->gradients(), static_cast<std::uint64_t>(t));
      optimizer->step(context_, {.learning_rate = kRate}, t, optimizer->gradient_norm(context_));
    }
  }
  const std::vector<float> expected = flat(config_, weights_);
  const std::vector<float> got = flat(config_, other);
  double difference = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], kSteps * kRate * 0.03) << i;
    difference += std::abs(got[i] - expected[i]);
  }
  EXPECT_GT(difference, 0) << "the moments were not rounded";
  EXPECT_LT(difference / static_cast<double>(got.size()), kSteps * kRate * 0x1p-9);
}

TEST(AdamWKernelTest, Bf16MomentsAreTheF32OnesRoundedAndTheWeightsTheSame) {
  const kernels::AdamWStep step = {.learning_rate = 0.1F, .beta1 = 0.9F, .beta2 = 0.95F, .epsilon = 1e-8F};
  constexpr std::size_t kCount = 37;
  std::vector<float> w(kCount, 1.0F);
  std::vector<float> g(kCount);
  for (std::size_t i = 0; i < kCount; ++i) g[i] = 0.3F - 0.017F * static_cast<float>(i);
  std::vector<float> m(kCount, 0.25F);
  std::vector<float> v(kCount, 0.125F);
  std::vector<float> other_w = w;
  std::vector<float> other_g = g;
  std::vector<Bf16> other_m(kCount + 1, Bf16::from_float(0.25F));
  std::vector<Bf16> other_v(kCount + 1, Bf16::from_float(0.125F));
  kernels::adamw(step, kCount, w.data(), g.data(), m.data(), v.data());
  kernels::adamw(step, kCount, other_w.data(), other_g.data(), other_m.data(), other_v.data());
  EXPECT_EQ(w, other_w);
  EXPECT_EQ(g, other_g);
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(other_m[i].bits, Bf16::from_float(m[i]).bits) << i;
    EXPECT_EQ(other_v[i].bits, Bf16::from_float(v[i]).bits) << i;
  }
  EXPECT_EQ(other_m[kCount].to_float(), 0.25F) << "wrote beyond the end";
}

/// torch.optim.Muon, written out in float64 (goldens/make_muon_goldens.py).
TEST(MuonTest, FollowsTheGoldens) {
  const Json golden = read_json_file(test::golden("train/goldens/muon.json"));
  ThreadPool pool(2);
  for (const Json& json : golden.at("cases")) {
    const std::int64_t rows = json.at("rows");
    const std::int64_t cols = json.at("cols");
    const std::uint32_t seed = json.at("seed");
    const Shape shape{rows, cols};
    Tensor direction = test::hashed_values(seed, shape, 0.5F);
    kernels::orthogonalize(pool, rows, cols, direction.f32());
    Tensor weight = test::hashed_values(seed, shape, 0.5F);
    Tensor gradient = Tensor::zeros(shape);
    Tensor momentum = Tensor::zeros(shape);
    Muon muon({{weight.f32(), gradient.f32(), momentum.data(), rows, cols}}, DType::f32);
    for (std::uint32_t step = 0; step < golden.at("steps"); ++step) {
      // Twice the gradient at half the scale: clipping comes first.
      const Tensor g = test::hashed_values(seed + 1 + step, shape, 2.0F);
      std::ranges::copy(g.values(), gradient.f32());
      muon.step(Context{pool}, {.learning_rate = golden.at("learning_rate"),
                                .weight_decay = golden.at("weight_decay"),
                                .momentum = golden.at("momentum"),
                                .gradient_scale = 0.5F});
      EXPECT_THAT(gradient.values(), testing::Each(0.0F));
    }
    // Each iteration may stretch f32's rounding of a small singular value by its slope of 3.4.
    for (std::size_t i = 0; i < weight.values().size(); ++i) {
      EXPECT_NEAR(direction.values()[i], json.at("orthogonalised")[i].get<double>(), 2e-5)
          << rows << 'x' << cols;
      EXPECT_NEAR(weight.values()[i], json.at("weights")[i].get<double>(), 2e-6) << rows << 'x' << cols;
    }
  }
}

TEST(MuonTest, ZerosStayZeros) {
  ThreadPool pool(1);
  std::vector<float> x(12, 0.0F);
  kernels::orthogonalize(pool, 3, 4, x.data());
  EXPECT_THAT(x, testing::Each(0.0F));
}

/// Matrices beyond the size from which threads share one, and some below.
TEST(MuonTest, ThreadsAndCompanyDoNotChangeABit) {
  const std::vector<Shape> shapes = {{600, 520}, {40, 70}, {70, 40}, {8, 8}};
  std::vector<std::vector<float>> results;
  for (const std::size_t threads : {1U, 3U}) {
    ThreadPool pool(threads);
    std::vector<Tensor> weights;
    std::vector<Tensor> gradients;
    std::vector<Tensor> momenta;
    std::vector<Muon::Matrix> matrices;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      weights.push_back(test::hashed_values(static_cast<std::uint32_t>(i), shapes[i], 0.1F));
      gradients.push_back(test::hashed_values(static_cast<std::uint32_t>(i + 9), shapes[i], 1.0F));
      momenta.push_back(Tensor::zeros(shapes[i], DType::bf16));
      matrices.push_back(
          {weights[i].f32(), gradients[i].f32(), momenta[i].data(), shapes[i][0], shapes[i][1]});
    }
    Muon muon(matrices, DType::bf16);
    muon.step(Context{pool}, {.learning_rate = 0.01F, .weight_decay = 0.1F, .momentum = 0.95F});
    std::vector<float>& flat = results.emplace_back();
    for (const Tensor& weight : weights)
      flat.insert(flat.end(), weight.values().begin(), weight.values().end());
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST_F(OptimizerTest, MuonTakesTheMatricesAndLeavesTheRestToAdamW) {
  TransformerWeights by_adamw = random_weights(config_, 1);
  Optimizer adamw(config_, by_adamw);
  Optimizer muon(config_, weights_, DType::f32, OptimizerKind::muon);
  for (Optimizer* optimizer : {&adamw, &muon}) {
    fill_gradients(config_, optimizer->gradients(), 1);
    optimizer->step(context_, {.learning_rate = 1e-3}, 0, optimizer->gradient_norm(context_));
    EXPECT_EQ(optimizer->gradient_norm(context_), 0.0);
  }
  std::vector<Tensor> expected;
  visit_parameters(config_, by_adamw,
                   [&](const ParameterSpec&, Tensor& value, Tensor*) { expected.push_back(value); });
  std::size_t i = 0;
  visit_parameters(config_, weights_, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const bool is_matrix = spec.kind == ParameterKind::linear || spec.kind == ParameterKind::expert;
    const bool same = std::ranges::equal(value.values(), expected[i++].values());
    EXPECT_EQ(same, !is_matrix) << spec.name;
  });
  visit_parameters(config_, const_cast<TransformerWeights&>(muon.second_moments()),
                   [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
                     const bool is_matrix =
                         spec.kind == ParameterKind::linear || spec.kind == ParameterKind::expert;
                     EXPECT_EQ(value.defined(), !is_matrix) << spec.name;
                   });
}

/// Moonlight's scale: an update's root mean square is about 0.2 whatever the shape, as AdamW's is.
TEST(MuonTest, UpdatesHaveTheSizeOfAdamWs) {
  ThreadPool pool(2);
  for (const Shape& shape : {Shape{64, 64}, Shape{32, 128}, Shape{128, 48}}) {
    Tensor weight = Tensor::zeros(shape);
    Tensor gradient = test::hashed_values(4, shape, 1.0F);
    Tensor momentum = Tensor::zeros(shape);
    Muon muon({{weight.f32(), gradient.f32(), momentum.data(), shape[0], shape[1]}}, DType::f32);
    muon.step(Context{pool}, {.learning_rate = 1.0F});
    double squares = 0;
    for (const float w : weight.values()) squares += static_cast<double>(w) * w;
    // Singular values come out between about 0.7 and 1.2.
    EXPECT_NEAR(std::sqrt(squares / static_cast<double>(weight.size())), 0.2, 0.06) << shape_text(shape);
  }
}

TEST(AdamWKernelTest, TheRestOfALoopIsTreatedAsTheOthers) {
  const kernels::AdamWStep step = {.learning_rate = 0.1F, .beta1 = 0.9F, .beta2 = 0.95F, .epsilon = 1e-8F};
  for (std::size_t count = 1; count <= 35; ++count) {
    std::vector<float> w(count + 1, 1.0F);
    std::vector<float> g(count + 1, 0.5F);
    std::vector<float> m(count + 1, 0.25F);
    std::vector<float> v(count + 1, 0.125F);
    kernels::adamw(step, count, w.data(), g.data(), m.data(), v.data());
    for (std::size_t i = 0; i < count; ++i) {
      // One rounding of fused multiply-adds may differ between a whole vector and a part of one: none does.
      ASSERT_EQ(w[i], w[0]) << count;
      ASSERT_EQ(g[i], 0.0F);
      ASSERT_EQ(m[i], m[0]);
      ASSERT_EQ(v[i], v[0]);
    }
    EXPECT_LT(w[0], 1.0F);
    EXPECT_EQ(w[count], 1.0F) << "wrote beyond the end";
    EXPECT_EQ(g[count], 0.5F) << "wrote beyond the end";
  }
}

}  // namespace
}  // namespace fathom
