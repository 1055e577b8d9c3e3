#include "model/moe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/encode_blocks.h"
#include "numerics/convert.h"
#include "support/moe_layer.h"
#include "support/tiny_model.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

using test::hashed_values;

struct Pass {
  Tensor y;
  Tensor dx;
  MoeWeights grads;
  double balance_loss = 0;
};

constexpr double kAlpha = 0.3;

/// Forward and backward of sum(y · dy) + kAlpha · balance loss.
Pass run(const ModelConfig& config, const MoeWeights& weights, const Tensor& x, const Sequences& sequences,
         std::size_t threads) {
  ThreadPool pool(threads);
  const Context context{pool};
  const Moe moe(config, weights);
  Moe::Saved saved;
  Moe::Deltas deltas;
  Pass pass;
  pass.y = moe.forward(context, x, sequences, &saved);
  pass.balance_loss = saved.router.balance_loss;
  pass.dx = moe.backward_input(context, hashed_values(7, x.shape(), 1.0F), sequences, kAlpha, saved, deltas);
  pass.grads = test::zeros_like(weights);
  moe.backward_weight(context, x, saved, deltas, pass.grads);
  return pass;
}

double loss(const ModelConfig& config, const MoeWeights& weights, const Tensor& x,
            const Sequences& sequences) {
  const Pass pass = run(config, weights, x, sequences, 1);
  const Tensor dy = hashed_values(7, x.shape(), 1.0F);
  double total = kAlpha * pass.balance_loss;
  for (std::size_t i = 0; i < dy.values().size(); ++i)
    total += static_cast<double>(pass.y.values()[i]) * static_cast<double>(dy.values()[i]);
  return total;
}

void expect_same_bytes(const Tensor& a, const Tensor& b) {
  EXPECT_THAT(a.bytes(), testing::ElementsAreArray(b.bytes().begin(), b.bytes().end()));
}

class MoeKindsTest : public testing::TestWithParam<std::size_t> {};

ModelConfig config_of(std::size_t kind) {
  if (kind == 0) return test::tiny_v3();
  if (kind == 1) return test::tiny_v2();
  ModelConfig config = test::tiny_v2(TopkMethod::group_limited_greedy);
  config.n_shared_experts = 0;
  return config;
}

// A step along each parameter's own gradient: the loss must change by step · |gradient|².
TEST_P(MoeKindsTest, GradientsAreSlopes) {
  const ModelConfig config = config_of(GetParam());
  MoeWeights weights = test::hashed_moe_weights(config);
  Tensor x = hashed_values(6, {6, config.hidden_size}, 1.0F);
  const Sequences sequences{{0, 2, 6}};
  Pass pass = run(config, weights, x, sequences, 2);

  std::vector<std::pair<Tensor*, Tensor*>> checked = {{&x, &pass.dx}};
  const std::vector<Tensor*> values = test::trainable(weights);
  const std::vector<Tensor*> grads = test::trainable(pass.grads);
  for (std::size_t i = 0; i < values.size(); ++i) checked.emplace_back(values[i], grads[i]);
  for (std::size_t which = 0; which < checked.size(); ++which) {
    const auto [value, grad] = checked[which];
    double norm2 = 0.0;
    for (const float g : grad->values()) norm2 += static_cast<double>(g) * static_cast<double>(g);
    if (norm2 == 0.0) continue;  // an expert without tokens
    const double step = 2e-3 / std::sqrt(norm2);
    const Tensor kept = value->clone();
    const auto loss_at = [&, &value = value, &grad = grad](double factor) {
      for (std::size_t i = 0; i < kept.values().size(); ++i)
        value->values()[i] = kept.values()[i] + static_cast<float>(factor * step) * grad->values()[i];
      return loss(config, weights, x, sequences);
    };
    const double slope = (loss_at(1) - loss_at(-1)) / (2 * step);
    std::copy(kept.values().begin(), kept.values().end(), value->values().begin());
    // The differences are near 1e-3 of a loss near 10, computed in f32.
    EXPECT_NEAR(slope / norm2, 1.0, 5e-3) << "tensor " << which;
  }
}

TEST_P(MoeKindsTest, ResultsDoNotDependOnTheThreadCount) {
  const ModelConfig config = config_of(GetParam());
  MoeWeights weights = test::hashed_moe_weights(config);
  const Tensor x = hashed_values(6, {150, config.hidden_size}, 1.0F);
  const Sequences sequences{{0, 100, 150}};
  Pass one = run(config, weights, x, sequences, 1);
  for (const std::size_t threads : {2U, 3U}) {
    Pass many = run(config, weights, x, sequences, threads);
    EXPECT_EQ(one.balance_loss, many.balance_loss);
    expect_same_bytes(one.y, many.y);
    expect_same_bytes(one.dx, many.dx);
    const std::vector<Tensor*> a = test::trainable(one.grads);
    const std::vector<Tensor*> b = test::trainable(many.grads);
    for (std::size_t i = 0; i < a.size(); ++i) expect_same_bytes(*a[i], *b[i]);
  }
}

TEST_P(MoeKindsTest, ManyTokensGiveWhatEachTokenAloneGives) {
  const ModelConfig config = config_of(GetParam());
  const MoeWeights weights = test::hashed_moe_weights(config);
  ThreadPool pool(2);
  const Context context{pool};
  const Moe moe(config, weights);
  const std::int64_t tokens = 1500;  // several blocks of rows for an expert
  const Tensor x = hashed_values(6, {tokens, config.hidden_size}, 1.0F);
  const Tensor y = moe.forward(context, x, Sequences::uniform(1, tokens), nullptr);
  for (std::int64_t t = 0; t < tokens; t += 31) {
    const Tensor alone = moe.forward(context, x.rows(t, t + 1), Sequences::uniform(1, 1), nullptr);
    for (std::int64_t i = 0; i < config.hidden_size; ++i)
      ASSERT_NEAR(alone.f32()[i], y.f32()[t * config.hidden_size + i], 2e-5) << "token " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, MoeKindsTest, testing::Values(0, 1, 2));

/// `w` stored as `dtype`, and `expanded` the values that then stand there, in f32.
LinearWeight stored_as(const LinearWeight& w, DType dtype, LinearWeight& expanded) {
  LinearWeight stored;
  if (dtype == DType::f8_e4m3) {
    BlockScaled scaled = quantize_blocks(w.weight, ScaleFormat::f32);
    stored.weight = scaled.weight;
    stored.weight_scale_inv = scaled.weight_scale_inv;
  } else {
    stored.weight = Tensor::empty(w.weight.shape(), dtype);
    narrow_from_f32(w.weight.f32(), w.weight.size(), dtype, stored.weight.data());
  }
  expanded.weight = to_f32(stored.weight, stored.weight_scale_inv);
  return stored;
}

class MoeStorageTest : public testing::TestWithParam<DType> {};

TEST_P(MoeStorageTest, StoredWeightsGiveWhatTheirValuesGive) {
  ModelConfig config = test::tiny_v3();
  config.hidden_size = 140;  // more than one FP8 block, the last one partial
  config.moe_intermediate_size = 290;
  MoeWeights stored = test::hashed_moe_weights(config);
  MoeWeights expanded = stored;
  const auto store = [&](MlpWeights& mlp, MlpWeights& wide) {
    mlp.gate_proj = stored_as(mlp.gate_proj, GetParam(), wide.gate_proj);
    mlp.up_proj = stored_as(mlp.up_proj, GetParam(), wide.up_proj);
    mlp.down_proj = stored_as(mlp.down_proj, GetParam(), wide.down_proj);
  };
  for (std::size_t e = 0; e < stored.experts.size(); ++e) store(stored.experts[e], expanded.experts[e]);
  store(stored.shared_experts, expanded.shared_experts);

  ThreadPool pool(2);
  for (const std::int64_t tokens : {1, 3, 70}) {  // alone, streamed, multiplied
    const Tensor x = hashed_values(6, {tokens, config.hidden_size}, 0.5F);
    const Sequences sequences = Sequences::uniform(1, tokens);
    const Tensor y = Moe(config, stored).forward(Context{pool}, x, sequences, nullptr);
    const Tensor expected = Moe(config, expanded).forward(Context{pool}, x, sequences, nullptr);
    float largest = 0.0F;
    for (const float value : expected.values()) largest = std::max(largest, std::abs(value));
    for (std::size_t i = 0; i < y.values().size(); ++i)
      ASSERT_NEAR(y.values()[i], expected.values()[i], 1e-5F * largest) << tokens << " tokens";
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MoeStorageTest, testing::Values(DType::bf16, DType::f16, DType::f8_e4m3),
                         [](const auto& type) { return std::string(dtype_name(type.param)); });

TEST(MoeTest, SharedExpertsInBlockTypesAreMultipliedBesideTheRoutedOnes) {
  ModelConfig config = test::tiny_v3();
  config.hidden_size = 64;
  config.moe_intermediate_size = 32;
  MoeWeights weights = test::hashed_moe_weights(config);
  const auto store = [](MlpWeights& mlp) {
    for (LinearWeight* map : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj}) {
      const Tensor values = map->weight;
      map->weight = Tensor::empty(values.shape(), DType::q8_0);
      kernels::encode_blocks(DType::q8_0, values.f32(), values.size(), nullptr, map->weight.data());
    }
  };
  for (MlpWeights& expert : weights.experts) store(expert);
  store(weights.shared_experts);
  ModelConfig routed_config = config;
  routed_config.n_shared_experts = 0;
  MoeWeights routed = weights;
  routed.shared_experts = {};

  ThreadPool pool(2);
  const Context context{pool};
  for (const std::int64_t tokens : {1, 9}) {
    const Tensor x = hashed_values(6, {tokens, config.hidden_size}, 0.5F);
    const Sequences sequences = Sequences::uniform(1, tokens);
    const Tensor together = Moe(config, weights).forward(context, x, sequences, nullptr);
    const Tensor apart = Moe(routed_config, routed).forward(context, x, sequences, nullptr);
    const Tensor shared = Mlp(weights.shared_experts).forward(context, x, nullptr);
    for (std::int64_t i = 0; i < together.size(); ++i)  // sums in another order
      ASSERT_NEAR(together.f32()[i], apart.f32()[i] + shared.f32()[i], 1e-6) << tokens << " tokens";
  }
}

TEST(MoeTest, OneExpertMayTakeEveryToken) {
  ModelConfig config = test::tiny_v3();
  config.num_experts_per_tok = 1;
  config.norm_topk_prob = false;
  MoeWeights weights = test::hashed_moe_weights(config);
  weights.e_score_correction_bias.f32()[5] = 100.0F;
  const std::int64_t tokens = 1200;
  const Tensor x = hashed_values(6, {tokens, config.hidden_size}, 1.0F);
  ThreadPool pool(2);
  std::vector<std::int64_t> load(8, 1);
  Moe(config, weights).forward(Context{pool}, x, Sequences::uniform(1, tokens), nullptr, &load);
  EXPECT_THAT(load, testing::ElementsAre(1, 1, 1, 1, 1, tokens + 1, 1, 1));

  Pass pass = run(config, weights, x, Sequences::uniform(2, tokens / 2), 2);
  for (std::size_t e = 0; e < 8; ++e) {
    double sum = 0.0;
    for (const float g : pass.grads.experts[e].down_proj.weight.values())
      sum += std::abs(static_cast<double>(g));
    EXPECT_EQ(sum > 0.0, e == 5) << "expert " << e;
  }
  // Blocks of rows do not change a token's result.
  const Pass first = run(config, weights, x.rows(0, 600), Sequences::uniform(1, 600), 1);
  const Tensor y = pass.y.rows(0, 600);
  for (std::size_t i = 0; i < y.values().size(); ++i) ASSERT_NEAR(first.y.values()[i], y.values()[i], 2e-5);
}

TEST(MoeTest, NoTokensAreNoTrouble) {
  const ModelConfig config = test::tiny_v3();
  MoeWeights weights = test::hashed_moe_weights(config);
  Pass pass = run(config, weights, Tensor::empty({0, config.hidden_size}), {{0}}, 2);
  EXPECT_EQ(pass.y.shape(), (Shape{0, config.hidden_size}));
  EXPECT_EQ(pass.balance_loss, 0.0);
  for (Tensor* grad : test::trainable(pass.grads))
    for (const float g : grad->values()) ASSERT_EQ(g, 0.0F);
}

TEST(MoeTest, ANaNTokenStaysItsOwnTrouble) {
  const ModelConfig config = test::tiny_v3();
  const MoeWeights weights = test::hashed_moe_weights(config);
  Tensor x = hashed_values(6, {20, config.hidden_size}, 1.0F);
  x.f32()[3 * config.hidden_size + 2] = std::numeric_limits<float>::quiet_NaN();
  ThreadPool pool(2);
  const Tensor y = Moe(config, weights).forward(Context{pool}, x, Sequences::uniform(1, 20), nullptr);
  for (std::int64_t t = 0; t < 20; ++t)
    EXPECT_EQ(std::isnan(y.f32()[t * config.hidden_size]), t == 3) << "token " << t;
}

TEST(MoeTest, ExpertsThatDoNotFitAreNamed) {
  const ModelConfig config = test::tiny_v3();
  MoeWeights weights = test::hashed_moe_weights(config);
  ThreadPool pool(1);
  const Tensor x = hashed_values(6, {2, config.hidden_size}, 1.0F);
  const auto forward = [&] {
    Moe(config, weights).forward(Context{pool}, x, Sequences::uniform(1, 2), nullptr);
  };
  weights.experts[3].up_proj.weight = Tensor::zeros({19, config.hidden_size});
  EXPECT_THROW(forward(), Error);
  weights.experts.pop_back();
  EXPECT_THROW(forward(), Error);
}

}  // namespace
}  // namespace fathom
