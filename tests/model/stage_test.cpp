#include "model/stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "model/random_batch.h"
#include "model/transformer.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using testing::ElementsAre;

/// A parameter's gradient; empty where it is not used.
struct StageGradient {
  std::string name;
  std::vector<float> values;

  bool operator==(const StageGradient&) const = default;
};

std::vector<StageGradient> values_of(const ModelConfig& config, TransformerWeights& grads) {
  std::vector<StageGradient> list;
  visit_parameters(config, grads, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    list.push_back({spec.name, {}});
    if (value.defined()) list.back().values.assign(value.values().begin(), value.values().end());
  });
  return list;
}

/// All rows of what a run of layers uses.
RowsKept rows_of_run(const ModelConfig& config, LayerRun run) {
  return
      [&config, run](const ParameterSpec& spec) { return run.uses(config, spec) ? spec.shape.front() : 0; };
}

struct StagePass {
  Losses losses;
  std::vector<StageGradient> gradients;
  std::vector<std::int64_t> done;  // layers, in the order in which they were
};

class StageTest : public testing::TestWithParam<std::tuple<test::NamedConfig, Precision>> {
 protected:
  static constexpr double kScale = 0.3;

  const ModelConfig& config_ = std::get<0>(GetParam()).config;
  ThreadPool pool_{2};
  Context context_{pool_, std::get<1>(GetParam())};
  TransformerWeights weights_ = random_weights(config_, 3);
  Batch batch_ = random_batch(config_, 2, 12);
  LossFactors factors_;

  StagePass whole() {
    const Transformer model(config_, weights_, 64);
    StagePass pass;
    Transformer::Saved saved;
    pass.losses = model.forward(context_, batch_, factors_, &saved);
    TransformerWeights grads = zero_weights(config_);
    model.backward(context_, batch_, factors_, kScale, saved, grads,
                   [&](std::int64_t layer) { pass.done.push_back(layer); });
    pass.gradients = values_of(config_, grads);
    return pass;
  }

  /// The passes of stages of one layer each, each with nothing but its own weights. [stage]
  std::vector<StagePass> in_stages(bool split) {
    const std::int64_t count = config_.num_hidden_layers;
    const RopeTable rope(config_, 64);
    std::vector<TransformerWeights> weights;
    std::vector<TransformerWeights> grads;
    std::vector<Stage> stages;
    weights.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) {
      const RowsKept used = rows_of_run(config_, {i, i + 1});
      weights.push_back(random_weights(config_, 3, nullptr, used));
      grads.push_back(zero_weights(config_, nullptr, DType::f32, used));
      stages.emplace_back(config_, weights.back(), rope, LayerRun{i, i + 1});
    }
    std::vector<StagePass> passes(stages.size());
    std::vector<Stage::Saved> saved(stages.size());
    Tensor x;
    for (std::size_t s = 0; s < stages.size(); ++s)
      x = stages[s].forward(context_, batch_, x, factors_, &saved[s], passes[s].losses);
    EXPECT_FALSE(x.defined());
    for (std::size_t s = stages.size(); s-- > 0;) {
      const auto done = [&](std::int64_t layer) { passes[s].done.push_back(layer); };
      if (split) {
        x = stages[s].backward_input(context_, batch_, factors_, kScale, x, saved[s]);
      } else {
        x = stages[s].backward(context_, batch_, factors_, kScale, x, saved[s], grads[s], done);
      }
    }
    EXPECT_FALSE(x.defined());
    for (std::size_t s = 0; s < stages.size(); ++s) {
      const auto done = [&](std::int64_t layer) { passes[s].done.push_back(layer); };
      if (split) stages[s].backward_weight(context_, batch_, kScale, saved[s], grads[s], done);
      passes[s].gradients = values_of(config_, grads[s]);
    }
    return passes;
  }
};

TEST_P(StageTest, TogetherStagesAreTheTransformer) {
  const StagePass all = whole();
  const std::vector<StagePass> stages = in_stages(/*split=*/false);
  EXPECT_EQ(stages.back().losses.main, all.losses.main);
  EXPECT_EQ(stages.back().losses.mtp, all.losses.mtp);
  EXPECT_EQ(stages.back().losses.targets, all.losses.targets);
  double balance = 0;
  std::vector<std::vector<std::int64_t>> load;
  for (const StagePass& stage : stages) {
    balance += stage.losses.balance;
    load.insert(load.end(), stage.losses.expert_load.begin(), stage.losses.expert_load.end());
  }
  EXPECT_NEAR(balance, all.losses.balance, 1e-12);
  EXPECT_EQ(load, all.losses.expert_load);

  for (std::size_t p = 0; p < all.gradients.size(); ++p) {
    std::vector<float> sum;
    int parts = 0;
    for (const StagePass& stage : stages) {
      const std::vector<float>& part = stage.gradients[p].values;
      if (part.empty()) continue;
      if (parts++ == 0)
        sum = part;
      else
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
    }
    const std::vector<float>& expected = all.gradients[p].values;
    if (parts == 1) {
      EXPECT_EQ(sum, expected) << all.gradients[p].name;
      continue;
    }
    // The embedding, used at both ends: the same terms, summed in another order.
    EXPECT_EQ(parts, 2) << all.gradients[p].name;
    double largest = 0;
    double difference = 0;
    for (std::size_t i = 0; i < sum.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
      difference =
          std::max(difference, std::abs(static_cast<double>(sum[i]) - static_cast<double>(expected[i])));
    }
    EXPECT_LT(difference, 1e-6 * largest) << all.gradients[p].name;
  }
}

TEST_P(StageTest, ASplitBackwardHasTheSameBits) {
  const std::vector<StagePass> whole = in_stages(/*split=*/false);
  const std::vector<StagePass> split = in_stages(/*split=*/true);
  for (std::size_t s = 0; s < whole.size(); ++s) {
    EXPECT_EQ(split[s].gradients, whole[s].gradients) << "stage " << s;
    EXPECT_EQ(split[s].done, whole[s].done) << "stage " << s;
  }
}

std::vector<test::NamedConfig> staged_models() {
  std::vector<test::NamedConfig> models = test::tiny_models();
  std::erase_if(models, [](const test::NamedConfig& model) {
    return model.name != "V3" && model.name != "V3Tied" && model.name != "V3Mtp" &&
           model.name != "V3MtpDepthTwoTied" && model.name != "V3AllDense" && model.name != "V2Grouped";
  });
  return models;
}

INSTANTIATE_TEST_SUITE_P(Models, StageTest,
                         testing::Combine(testing::ValuesIn(staged_models()),
                                          testing::Values(Precision::f32, Precision::bf16)),
                         [](const auto& test) {
                           return std::get<0>(test.param).name +
                                  (std::get<1>(test.param) == Precision::f32 ? "F32" : "Bf16");
                         });

class StagePartsTest : public testing::Test {
 protected:
  ModelConfig config_ = test::tiny_v3();
  ThreadPool pool_{1};
  Context context_{pool_};
  TransformerWeights weights_;
  Batch batch_;
  RopeTable rope_{config_, 64};

  void SetUp() override {
    config_.num_nextn_predict_layers = 1;
    weights_ = random_weights(config_, 3);
    batch_ = random_batch(config_, 1, 8);
  }
};

TEST_F(StagePartsTest, WeightGradientsComeWithTheirOwnPassAndNothingIsKeptAfterIt) {
  const Stage stage(config_, weights_, rope_, {0, 3});
  Stage::Saved saved;
  Losses losses;
  stage.forward(context_, batch_, {}, {}, &saved, losses);
  Tensor block;
  TransformerWeights grads = zero_weights(config_, &block);
  (void)stage.backward_input(context_, batch_, {}, 1.0, {}, saved);
  EXPECT_THAT(block.values(), testing::Each(0.0F));
  EXPECT_TRUE(saved.blocks[2].x.defined());
  stage.backward_weight(context_, batch_, 1.0, saved, grads);
  for (const Block::Saved& kept : saved.blocks) EXPECT_FALSE(kept.x.defined());
  for (const Block::Deltas& kept : saved.deltas) EXPECT_FALSE(kept.post_norm.defined());
  for (const Stage::Saved::Mtp& kept : saved.mtp) EXPECT_FALSE(kept.module.output.defined());
  for (const Tensor* kept : {&saved.output, &saved.dnormed, &saved.dhead, &saved.dembedding})
    EXPECT_FALSE(kept->defined());
}

TEST_F(StagePartsTest, EachLayerIsDoneOnceAndWhatManyShareLast) {
  const auto done_by = [&](LayerRun run) {
    const Stage stage(config_, weights_, rope_, run);
    Stage::Saved saved;
    Losses losses;
    const Tensor x = Tensor::zeros({8, config_.hidden_size});
    stage.forward(context_, batch_, x, {}, &saved, losses);
    TransformerWeights grads = zero_weights(config_);
    std::vector<std::int64_t> done;
    (void)stage.backward(context_, batch_, {}, 1.0, x, saved, grads,
                         [&](std::int64_t layer) { done.push_back(layer); });
    return done;
  };
  EXPECT_THAT(done_by({0, 3}), ElementsAre(3, 2, 1, 0, -1));
  EXPECT_THAT(done_by({0, 2}), ElementsAre(1, 0, -1));
  EXPECT_THAT(done_by({1, 2}), ElementsAre(1));
  EXPECT_THAT(done_by({2, 3}), ElementsAre(3, 2, -1));
}

TEST_F(StagePartsTest, OfTheEmbeddingBothEndsMakeUse) {
  const auto users = [&](const ModelConfig& config, const std::string& name) {
    std::vector<std::int64_t> stages;
    for (const ParameterSpec& spec : parameter_specs(config))
      for (std::int64_t s = 0; spec.name == name && s < 3; ++s)
        if (LayerRun{s, s + 1}.uses(config, spec)) stages.push_back(s);
    return stages;
  };
  ModelConfig plain = test::tiny_v3();
  EXPECT_THAT(users(plain, "model.embed_tokens.weight"), ElementsAre(0));
  EXPECT_THAT(users(config_, "model.embed_tokens.weight"), ElementsAre(0, 2));
  plain.tie_word_embeddings = true;
  EXPECT_THAT(users(plain, "model.embed_tokens.weight"), ElementsAre(0, 2));
  EXPECT_THAT(users(config_, "lm_head.weight"), ElementsAre(2));
  EXPECT_THAT(users(config_, "model.norm.weight"), ElementsAre(2));
  EXPECT_THAT(users(config_, "model.layers.1.input_layernorm.weight"), ElementsAre(1));
  EXPECT_THAT(users(config_, "model.layers.3.enorm.weight"), ElementsAre(2));
}

}  // namespace
}  // namespace fathom
