#include "model/mlp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/moe_layer.h"

namespace fathom {
namespace {

using test::hashed_values;

constexpr std::int64_t kHidden = 10;
constexpr std::int64_t kWidth = 14;

MlpWeights hashed_weights() {
  MlpWeights weights;
  weights.gate_proj.weight = hashed_values(1, {kWidth, kHidden}, 0.5F);
  weights.up_proj.weight = hashed_values(2, {kWidth, kHidden}, 0.5F);
  weights.down_proj.weight = hashed_values(3, {kHidden, kWidth}, 0.5F);
  return weights;
}

/// down(silu(gate(x)) · up(x)) of one row, in double.
std::vector<double> reference(const MlpWeights& weights, const float* x) {
  const auto dot = [](const float* row, const auto* values, std::int64_t count) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < count; ++i)
      sum += static_cast<double>(row[i]) * static_cast<double>(values[i]);
    return sum;
  };
  std::vector<double> product;
  for (std::int64_t i = 0; i < kWidth; ++i) {
    const double gate = dot(weights.gate_proj.weight.f32() + i * kHidden, x, kHidden);
    const double up = dot(weights.up_proj.weight.f32() + i * kHidden, x, kHidden);
    product.push_back(gate / (1.0 + std::exp(-gate)) * up);
  }
  std::vector<double> y;
  for (std::int64_t i = 0; i < kHidden; ++i)
    y.push_back(dot(weights.down_proj.weight.f32() + i * kWidth, product.data(), kWidth));
  return y;
}

double weighted_sum(const MlpWeights& weights, const Tensor& x, const Tensor& dy) {
  double total = 0.0;
  for (std::int64_t t = 0; t < x.dim(0); ++t) {
    const std::vector<double> y = reference(weights, x.f32() + t * kHidden);
    for (std::int64_t i = 0; i < kHidden; ++i)
      total += y[static_cast<std::size_t>(i)] * static_cast<double>(dy.f32()[t * kHidden + i]);
  }
  return total;
}

TEST(MlpTest, ForwardIsTheFormula) {
  ThreadPool pool(2);
  const MlpWeights weights = hashed_weights();
  const Mlp mlp(weights);
  for (const std::int64_t tokens : {1, 5, 40}) {
    const Tensor x = hashed_values(4, {tokens, kHidden}, 1.0F);
    Mlp::Saved saved;
    const Tensor y = mlp.forward(Context{pool}, x, &saved);
    const Tensor unsaved = mlp.forward(Context{pool}, x, nullptr);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::vector<double> expected = reference(weights, x.f32() + t * kHidden);
      for (std::int64_t i = 0; i < kHidden; ++i)
        EXPECT_NEAR(y.f32()[t * kHidden + i], expected[static_cast<std::size_t>(i)], 2e-6);
    }
    EXPECT_THAT(unsaved.values(), testing::ElementsAreArray(y.values().begin(), y.values().end()));
  }
}

// The reference is in double, so that its central differences are exact to 1e-7.
TEST(MlpTest, GradientsAreSlopes) {
  ThreadPool pool(2);
  MlpWeights weights = hashed_weights();
  Tensor x = hashed_values(4, {3, kHidden}, 1.0F);
  const Tensor dy = hashed_values(5, x.shape(), 1.0F);
  const Mlp mlp(weights);
  Mlp::Saved saved;
  Mlp::Deltas deltas;
  mlp.forward(Context{pool}, x, &saved);
  const Tensor dx = mlp.backward_input(Context{pool}, dy, saved, deltas);
  MlpWeights grads;
  grads.gate_proj.weight = Tensor::zeros({kWidth, kHidden});
  grads.up_proj.weight = Tensor::zeros({kWidth, kHidden});
  grads.down_proj.weight = Tensor::zeros({kHidden, kWidth});
  mlp.backward_weight(Context{pool}, x, deltas, grads);

  const auto check = [&](Tensor& values, const Tensor& gradient, const char* what) {
    for (std::size_t i = 0; i < values.values().size(); ++i) {
      constexpr float kStep = 0.0078125F;  // a power of two: the two points are exact
      const float kept = values.values()[i];
      values.values()[i] = kept + kStep;
      const double above = weighted_sum(weights, x, dy);
      values.values()[i] = kept - kStep;
      const double below = weighted_sum(weights, x, dy);
      values.values()[i] = kept;
      EXPECT_NEAR(gradient.values()[i], (above - below) / (2.0 * static_cast<double>(kStep)), 5e-5)
          << what << i;
    }
  };
  check(x, dx, "x");
  check(weights.gate_proj.weight, grads.gate_proj.weight, "gate_proj");
  check(weights.up_proj.weight, grads.up_proj.weight, "up_proj");
  check(weights.down_proj.weight, grads.down_proj.weight, "down_proj");
}

TEST(MlpTest, WeightGradientsAreAddedToWhatIsThere) {
  ThreadPool pool(1);
  const MlpWeights weights = hashed_weights();
  const Tensor x = hashed_values(4, {3, kHidden}, 1.0F);
  const Mlp mlp(weights);
  Mlp::Saved saved;
  Mlp::Deltas deltas;
  mlp.forward(Context{pool}, x, &saved);
  mlp.backward_input(Context{pool}, hashed_values(5, x.shape(), 1.0F), saved, deltas);
  MlpWeights grads;
  grads.gate_proj.weight = Tensor::zeros({kWidth, kHidden});
  grads.up_proj.weight = Tensor::zeros({kWidth, kHidden});
  grads.down_proj.weight = Tensor::zeros({kHidden, kWidth});
  mlp.backward_weight(Context{pool}, x, deltas, grads);
  const Tensor once = grads.up_proj.weight.clone();
  mlp.backward_weight(Context{pool}, x, deltas, grads);
  for (std::size_t i = 0; i < once.values().size(); ++i)
    EXPECT_NEAR(grads.up_proj.weight.values()[i], 2.0F * once.values()[i], 1e-6F);
}

}  // namespace
}  // namespace fathom
