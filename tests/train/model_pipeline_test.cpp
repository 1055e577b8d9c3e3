#include "train/model_pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "dist/local_communicator.h"
#include "dist/stage_layers.h"
#include "model/fp8_weights.h"
#include "model/random_batch.h"
#include "model/transformer.h"
#include "support/error_text.h"
#include "support/ranks.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

/// A step of training, as one process has it.
struct PipelineOutcome {
  Losses losses;
  std::vector<std::vector<float>> gradients;  // [parameters]
};

std::vector<std::vector<float>> gradient_values(const ModelConfig& config, TransformerWeights& grads) {
  std::vector<std::vector<float>> all;
  visit_parameters(config, grads, [&](const ParameterSpec&, Tensor& value, Tensor*) {
    all.emplace_back();
    if (value.defined()) all.back().assign(value.values().begin(), value.values().end());
  });
  return all;
}

/// All rows of what a rank with these layers uses.
RowsKept rows_used(const ModelConfig& config, const std::vector<LayerRun>& runs) {
  return [&](const ParameterSpec& spec) {
    const bool used = std::ranges::any_of(runs, [&](LayerRun run) { return run.uses(config, spec); });
    return used ? spec.shape.front() : 0;
  };
}

constexpr std::int32_t kMicroBatches = 8;
/// The micro-batches' parts of a step, which may have different numbers of targets.
const std::vector<double> kParts = {0.125, 0.25, 0.0625, 0.0625, 0.1875, 0.125, 0.0, 0.1875};

struct PipelineModel {
  std::string name;
  bool tied = false;
  Precision precision = Precision::f32;
};

class ModelPipelineTest : public testing::Test {
 protected:
  ModelConfig config_ = test::tiny_v3();
  LossFactors factors_;
  std::vector<Batch> batches_;
  Precision precision_ = Precision::f32;

  void SetUp() override { make_model({}); }

  void make_model(const PipelineModel& model) {
    config_.num_hidden_layers = 8;
    config_.num_nextn_predict_layers = 1;
    config_.tie_word_embeddings = model.tied;
    precision_ = model.precision;
    batches_.clear();
    for (std::int32_t m = 0; m < kMicroBatches; ++m)
      batches_.push_back(random_batch(config_, 1, 8, static_cast<std::uint64_t>(m) + 1));
  }

  PipelineOutcome in_one_process() const {
    ThreadPool pool(1);
    const Context context{pool, precision_};
    TransformerWeights weights = random_weights(config_, 3);
    if (precision_ == Precision::fp8) quantize_weights(context, weights);
    const Transformer model(config_, weights, 16);
    TransformerWeights grads = zero_weights(config_);
    PipelineOutcome outcome;
    outcome.losses.mtp.resize(1);
    for (std::size_t m = 0; m < batches_.size(); ++m) {
      Transformer::Saved saved;
      const Losses losses = model.forward(context, batches_[m], factors_, &saved);
      add(losses, kParts[m], outcome.losses);
      model.backward(context, batches_[m], factors_, kParts[m], saved, grads);
    }
    outcome.gradients = gradient_values(config_, grads);
    return outcome;
  }

  /// Sums over all ranks, in their order.
  PipelineOutcome in_pipeline(const PipelineShape& shape) const {
    std::vector<PipelineOutcome> outcomes(static_cast<std::size_t>(shape.ranks()));
    const std::vector<std::vector<LayerRun>> layers = layers_of_ranks(config_, shape);
    test::on_ranks(shape.ranks(), [&](Communicator& ranks) {
      const auto rank = static_cast<std::size_t>(ranks.rank());
      ThreadPool pool(1);
      const Context context{pool, precision_};
      const RowsKept used = rows_used(config_, layers[rank]);
      TransformerWeights weights = random_weights(config_, 3, nullptr, used);
      if (precision_ == Precision::fp8) quantize_weights(context, weights);
      TransformerWeights grads = zero_weights(config_, nullptr, DType::f32, used);
      const ModelPipeline pipeline(config_, weights, 16, make_schedule(shape), ranks);
      outcomes[rank].losses = pipeline.run(context, batches_, factors_, kParts, grads);
      outcomes[rank].gradients = gradient_values(config_, grads);
    });
    PipelineOutcome sum = outcomes.front();
    for (std::size_t r = 1; r < outcomes.size(); ++r) {
      add(outcomes[r].losses, 1.0, sum.losses);
      for (std::size_t p = 0; p < sum.gradients.size(); ++p) {
        const std::vector<float>& part = outcomes[r].gradients[p];
        std::vector<float>& all = sum.gradients[p];
        all.resize(std::max(all.size(), part.size()));
        for (std::size_t i = 0; i < part.size(); ++i) all[i] += part[i];
      }
    }
    return sum;
  }

  static void add(const Losses& part, double factor, Losses& sum) {
    sum.main += factor * part.main;
    sum.balance += factor * part.balance;
    sum.targets += part.targets;
    for (std::size_t k = 0; k < part.mtp.size(); ++k) sum.mtp[k] += factor * part.mtp[k];
    sum.expert_load.resize(part.expert_load.size());
    for (std::size_t l = 0; l < part.expert_load.size(); ++l) {
      sum.expert_load[l].resize(part.expert_load[l].size());
      for (std::size_t e = 0; e < part.expert_load[l].size(); ++e)
        sum.expert_load[l][e] += part.expert_load[l][e];
    }
  }
};

/// The largest distance of a parameter's gradient from that wanted, as a part of its length.
double gradient_distance(const PipelineOutcome& got, const PipelineOutcome& wanted) {
  double largest = 0;
  for (std::size_t p = 0; p < wanted.gradients.size(); ++p) {
    EXPECT_EQ(got.gradients[p].size(), wanted.gradients[p].size());
    double difference = 0;
    double length = 0;
    for (std::size_t i = 0; i < wanted.gradients[p].size(); ++i) {
      const double value = wanted.gradients[p][i];
      difference += std::pow(got.gradients[p][i] - value, 2);
      length += std::pow(value, 2);
    }
    if (length > 0) largest = std::max(largest, std::sqrt(difference / length));
  }
  return largest;
}

class ModelPipelineOfTest : public ModelPipelineTest,
                            public testing::WithParamInterface<std::tuple<PipelineShape, PipelineModel>> {};

TEST_P(ModelPipelineOfTest, LossAndEveryGradientAreThoseOfOneProcess) {
  const auto& [shape, model] = GetParam();
  make_model(model);
  const PipelineOutcome one = in_one_process();
  const PipelineOutcome many = in_pipeline(shape);
  // The same terms in another order: an f32 sum of eight is off by a few 6e-8.
  constexpr double kBound = 1e-5;
  EXPECT_NEAR(many.losses.total(factors_), one.losses.total(factors_), kBound * one.losses.total(factors_));
  EXPECT_NEAR(many.losses.main, one.losses.main, kBound * one.losses.main);
  EXPECT_NEAR(many.losses.balance, one.losses.balance, kBound * one.losses.balance);
  EXPECT_EQ(many.losses.targets, one.losses.targets);
  EXPECT_EQ(many.losses.expert_load, one.losses.expert_load);
  EXPECT_LT(gradient_distance(many, one), kBound);

  const PipelineOutcome again = in_pipeline(shape);
  EXPECT_EQ(again.gradients, many.gradients);
  EXPECT_EQ(again.losses.main, many.losses.main);
  EXPECT_EQ(again.losses.mtp, many.losses.mtp);
  EXPECT_EQ(again.losses.balance, many.losses.balance);
}

std::vector<PipelineShape> executed_shapes() {
  std::vector<PipelineShape> shapes;
  const auto add = [&](PipelineKind kind, std::int32_t stages, std::int32_t stages_per_rank = 1) {
    shapes.push_back(
        {.kind = kind, .stages = stages, .micro_batches = kMicroBatches, .stages_per_rank = stages_per_rank});
  };
  for (const std::int32_t ranks : {2, 4}) {
    add(PipelineKind::one_f_one_b, ranks);
    add(PipelineKind::interleaved, 2 * ranks, 2);
    add(PipelineKind::zb1p, ranks);
    add(PipelineKind::dualpipe, ranks);
    add(PipelineKind::dualpipe_v, 2 * ranks);
  }
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(
    All, ModelPipelineOfTest,
    testing::Combine(testing::ValuesIn(executed_shapes()),
                     testing::Values(PipelineModel{.name = "Untied"},
                                     PipelineModel{.name = "Tied", .tied = true},
                                     PipelineModel{.name = "Bf16", .precision = Precision::bf16},
                                     PipelineModel{.name = "Fp8", .precision = Precision::fp8})),
    [](const auto& test) {
      const PipelineShape& shape = std::get<0>(test.param);
      std::string name(pipeline_kind_title(shape.kind));
      std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
      return name + "On" + std::to_string(shape.ranks()) + std::get<1>(test.param).name;
    });

TEST_F(ModelPipelineTest, EachLayerIsDoneOnceWhenItsLastGradientIsComplete) {
  for (const PipelineShape& shape : executed_shapes()) {
    const std::vector<std::vector<LayerRun>> layers = layers_of_ranks(config_, shape);
    test::on_ranks(shape.ranks(), [&](Communicator& ranks) {
      const std::vector<LayerRun>& own = layers[static_cast<std::size_t>(ranks.rank())];
      ThreadPool pool(1);
      const TransformerWeights weights = random_weights(config_, 3);
      TransformerWeights grads = zero_weights(config_);
      std::vector<std::int64_t> done;
      std::vector<std::vector<float>> then;  // the layer's first parameter, when it was done
      const auto norm_of = [&](std::int64_t layer) -> const Tensor& {
        if (layer < 0) return grads.embed_tokens;
        if (layer >= config_.num_hidden_layers) return grads.mtp[0].enorm;
        return grads.layers[static_cast<std::size_t>(layer)].input_layernorm;
      };
      const ModelPipeline pipeline(config_, weights, 16, make_schedule(shape), ranks);
      (void)pipeline.run({pool}, batches_, factors_, kParts, grads, [&](std::int64_t layer) {
        done.push_back(layer);
        const std::span<const float> values = norm_of(layer).values();
        then.emplace_back(values.begin(), values.end());
      });
      std::vector<std::int64_t> expected;
      for (const LayerRun run : own) {
        for (std::int64_t i = run.begin; i < run.end; ++i) expected.push_back(i);
        if (run.has_head(config_)) expected.push_back(config_.num_hidden_layers);
      }
      const bool has_ends = std::ranges::any_of(
          own, [&](LayerRun run) { return run.has_embedding() || run.has_head(config_); });
      if (has_ends) expected.push_back(-1);
      EXPECT_THAT(done, testing::UnorderedElementsAreArray(expected));
      for (std::size_t i = 0; i < done.size(); ++i)
        EXPECT_THAT(norm_of(done[i]).values(), testing::ElementsAreArray(then[i])) << "layer " << done[i];
    });
  }
}

TEST_F(ModelPipelineTest, WhatCannotRunIsRefusedWithoutABeginning) {
  const std::vector<std::unique_ptr<Communicator>> ranks = local_communicators(4);
  const TransformerWeights weights = random_weights(config_, 3);
  PipelineSchedule schedule =
      make_schedule({.kind = PipelineKind::zb1p, .stages = 4, .micro_batches = kMicroBatches});
  ThreadPool pool(1);
  TransformerWeights grads = zero_weights(config_);
  const ModelPipeline pipeline(config_, weights, 16, schedule, *ranks[0]);
  EXPECT_THAT(test::error_of(
                  [&] { (void)pipeline.run({pool}, std::span(batches_).first(3), factors_, kParts, grads); }),
              testing::HasSubstr("3 micro-batches, 8 scales of their losses, for a schedule of 8"));
  schedule.actions[2].pop_back();
  EXPECT_THAT(test::error_of([&] { const ModelPipeline spoilt(config_, weights, 16, schedule, *ranks[0]); }),
              testing::HasSubstr("ZB1P, rank 2"));
  config_.num_hidden_layers = 3;
  schedule = make_schedule({.kind = PipelineKind::zb1p, .stages = 4, .micro_batches = kMicroBatches});
  EXPECT_THAT(test::error_of([&] { const ModelPipeline longer(config_, weights, 16, schedule, *ranks[0]); }),
              testing::HasSubstr("3 layers cannot be cut into 4 pipeline stages"));
}

}  // namespace
}  // namespace fathom
