#include "train/replicas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "dist/collectives.h"
#include "dist/expert_exchange.h"
#include "dist/sequence_ring.h"
#include "model/fp8_weights.h"
#include "support/ranks.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"
#include "train/batch_loader.h"
#include "train/data_folder.h"
#include "train/parallel_layout.h"
#include "train/parameter_shards.h"
#include "train/token_dataset.h"
#include "train/training_step.h"

namespace fathom {
namespace {

TEST(BatchShareTest, AStepHasTheSameSequencesWhateverTheNumberOfRanks) {
  for (const std::int64_t unit : {1, 2, 3})
    for (const std::int64_t batch : {unit, 4 * unit, 30 * unit})
      for (const int ranks : {1, 2, 3, 4, 50}) {
        std::int64_t next = 0;
        for (int r = 0; r < ranks; ++r) {
          const BatchShare share = share_of_batch(batch, unit, r, ranks);
          EXPECT_EQ(share.first, next);
          EXPECT_EQ(share.count % unit, 0);
          EXPECT_LE(share.count / unit, (batch / unit + ranks - 1) / ranks);
          next += share.count;
        }
        EXPECT_EQ(next, batch);
      }
}

/// What a few steps of training made, as one process sees it that has everything.
struct Outcome {
  std::vector<double> losses;  // of each step
  std::vector<double> norms;
  std::vector<std::vector<std::int64_t>> load;
  std::vector<float> gradients;  // of the first step
  std::vector<float> weights;    // after the last one
  std::vector<float> first_moments;

  bool operator==(const Outcome&) const = default;
};

struct Recipe {
  std::string name;
  OptimizerKind optimizer = OptimizerKind::adamw;
  std::int64_t batch_size = 8;
  std::int64_t micro_batch_size = 1;
  DType moments = DType::f32;
  Balance balance = Balance::bias;
  Precision precision = Precision::f32;
  ParallelOptions parallel = {};
  int ranks_per_node = 0;
};

class ReplicasTest : public testing::Test {
 protected:
  ModelConfig config_ = test::tiny_v3();
  test::TemporaryFolder folder_;
  std::unique_ptr<TokenDataset> data_;

  void SetUp() override {
    config_.num_nextn_predict_layers = 1;
    config_.num_hidden_layers = 4;
    Rng random(3);
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 2000; ++i)
      tokens.push_back(
          static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config_.vocab_size))));
    ThreadPool pool(1);
    const DataManifest manifest = test::write_data_folder(folder_.path(), config_.vocab_size, tokens, {2000});
    data_ = std::make_unique<TokenDataset>(folder_.path(), manifest, "train", pool);
  }

  /// All parameters as one block, each row as the rank has it that moves it.
  std::vector<float> whole(Communicator& ranks, const ParameterShards& shards,
                           TransformerWeights weights) const {
    const std::vector<std::int64_t> offsets = block_offsets(config_);
    std::vector<double> values(static_cast<std::size_t>(offsets.back()));
    visit_parameters(config_, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
      const ParameterShards::Rows rows = shards.rows(spec, ranks.rank());
      if (rows.count() == 0) return;
      const std::int64_t width = value.size() / value.dim(0);
      std::ranges::copy(value.rows(rows.begin, rows.end).values(),
                        values.begin() + offsets[spec.index] + rows.begin * width);
    });
    all_sum(ranks, std::span(values));
    return {values.begin(), values.end()};
  }

  /// Whatever a rank holds is as on the rank that moves it.
  void expect_held(TransformerWeights weights, const std::vector<float>& all) const {
    const std::vector<std::int64_t> offsets = block_offsets(config_);
    visit_parameters(config_, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
      if (!value.defined()) return;
      const std::span<const float> wanted = std::span(all).subspan(
          static_cast<std::size_t>(offsets[spec.index]), static_cast<std::size_t>(value.size()));
      EXPECT_TRUE(std::ranges::equal(value.values(), wanted)) << spec.name;
    });
  }

  /// Trains two steps on so many ranks; checks that all of them see the same.
  Outcome train(const Recipe& recipe, int ranks) const {
    TrainingConfig training;
    training.sequence_length = 12;
    training.batch_size = recipe.batch_size;
    training.micro_batch_size = recipe.micro_batch_size;
    training.steps = 2;
    training.learning_rate = 1e-3;
    training.warmup_steps = 0;
    training.decay_steps = 0;
    training.gradient_clip = 0.1;  // clips
    training.balance = recipe.balance;
    training.balance_loss_factor = 0.1;  // for its gradient to be felt
    training.precision = recipe.precision;
    const TrainingPlan plan(training, "test");
    const BatchLoader loader(*data_, training.sequence_length, 1);
    std::mutex mutex;
    std::map<int, Outcome> outcomes;
    test::on_ranks(ranks, [&](Communicator& communicator) {
      ThreadPool pool(2);
      const ParallelLayout layout =
          make_layout(ranks, ranks > 1 ? recipe.parallel : ParallelOptions(), config_);
      const std::unique_ptr<Communicator> pipeline =
          communicator.split(layout.replica_of(communicator.rank()), communicator.rank());
      const std::unique_ptr<Communicator> group =
          communicator.split(communicator.rank() / layout.options.experts, 0);
      std::optional<ExpertExchange> experts;
      if (layout.options.experts > 1)
        experts.emplace(*group, config_.n_routed_experts, std::max(1, recipe.ranks_per_node));
      const std::unique_ptr<Communicator> sharers =
          communicator.split(communicator.rank() / layout.options.context, 0);
      SequenceRing ring(*sharers);
      const Context context{pool, recipe.precision, experts ? &*experts : nullptr,
                            layout.options.context > 1 ? &ring : nullptr};
      TransformerWeights weights =
          random_weights(config_, 1, nullptr, rows_on(layout, config_, communicator.rank()));
      const ParameterShards shards(config_, recipe.optimizer, layout);
      Optimizer optimizer(config_, weights, recipe.moments, recipe.optimizer, shards, communicator.rank());
      Replicas replicas(communicator, config_, weights, optimizer);
      TrainingStep step(config_, training, plan, weights, loader, optimizer, replicas,
                        layout.has_pipeline() ? pipeline.get() : nullptr);
      TrainingState state;
      Outcome outcome;
      for (int i = 0; i < 2; ++i) {
        if (recipe.precision == Precision::fp8) quantize_weights(context, weights);
        const TrainingStep::Gradients gradients = step.gradients(context, state);
        outcome.losses.push_back(gradients.loss);
        outcome.norms.push_back(gradients.norm);
        outcome.load = gradients.losses.expert_load;
        if (i == 0) {
          outcome.gradients = whole(communicator, shards, optimizer.gradients());
        }
        step.update(context, gradients, state);
        EXPECT_THAT(optimizer.gradient_block().values(), testing::Each(0.0F));
      }
      outcome.weights = whole(communicator, shards, weights);
      expect_held(weights, outcome.weights);
      Moments moments = replicas.gather_moments();
      const TransformerWeights gathered = replicas.gather_all(weights);
      if (communicator.rank() == 0) expect_held(gathered, outcome.weights);
      EXPECT_EQ(state.sequences, 2 * recipe.batch_size);
      const std::scoped_lock lock(mutex);
      if (communicator.rank() == 0 && recipe.moments == DType::f32) {
        const std::span<float> values = moments.first_block.values();
        outcomes[-1].first_moments.assign(values.begin(), values.end());
      }
      outcomes[communicator.rank()] = std::move(outcome);
    });
    const std::vector<float> first_moments = outcomes[-1].first_moments;
    outcomes.erase(-1);
    for (const auto& [rank, outcome] : outcomes) EXPECT_EQ(outcome, outcomes.at(0)) << "rank " << rank;
    Outcome outcome = outcomes.at(0);
    outcome.first_moments = first_moments;
    return outcome;
  }

  /// The largest distance of a parameter's values from those wanted, as a part of their length.
  double distance(const std::vector<float>& got, const std::vector<float>& wanted) const {
    const std::vector<std::int64_t> offsets = block_offsets(config_);
    double largest = 0;
    for (std::size_t p = 0; p + 1 < offsets.size(); ++p) {
      double difference = 0;
      double length = 0;
      for (auto i = static_cast<std::size_t>(offsets[p]); i < static_cast<std::size_t>(offsets[p + 1]); ++i) {
        difference += std::pow(static_cast<double>(got[i]) - static_cast<double>(wanted[i]), 2);
        length += std::pow(static_cast<double>(wanted[i]), 2);
      }
      if (length > 0) largest = std::max(largest, std::sqrt(difference / length));
    }
    return largest;
  }
};

class ReplicasOfTest : public ReplicasTest, public testing::WithParamInterface<std::tuple<Recipe, int>> {};

TEST_P(ReplicasOfTest, LossAndEveryGradientAreThoseOfOneProcess) {
  const auto& [recipe, ranks] = GetParam();
  const Outcome one = train(recipe, 1);
  const Outcome many = train(recipe, ranks);
  // The bound for f32. Sums in another order differ by a few units in the last place, 6e-8 each.
  constexpr double kBound = 1e-5;
  EXPECT_NEAR(many.losses[0], one.losses[0], kBound * one.losses[0]);
  EXPECT_NEAR(many.norms[0], one.norms[0], kBound * one.norms[0]);
  EXPECT_EQ(many.load, one.load);
  EXPECT_LT(distance(many.gradients, one.gradients), kBound);
  // Adam's first steps are a learning rate long whatever the gradient's size, so where that is near zero its
  // rounding shows; two steps of 1e-3 on weights near 0.02.
  EXPECT_NEAR(many.losses[1], one.losses[1], kBound * one.losses[1]);
  EXPECT_LT(distance(many.weights, one.weights), 1e-3);
  EXPECT_EQ(many.first_moments.size(), one.first_moments.size());
}

TEST_P(ReplicasOfTest, TwoRunsHaveTheSameBits) {
  const auto& [recipe, ranks] = GetParam();
  EXPECT_EQ(train(recipe, ranks), train(recipe, ranks));
}

INSTANTIATE_TEST_SUITE_P(
    All, ReplicasOfTest,
    testing::Combine(testing::Values(Recipe{.name = "MicroBatches"},
                                     Recipe{.name = "WholeShares", .micro_batch_size = 0},
                                     Recipe{.name = "UnevenShares", .batch_size = 6, .micro_batch_size = 2},
                                     Recipe{.name = "Muon", .optimizer = OptimizerKind::muon},
                                     Recipe{.name = "Bf16Moments", .moments = DType::bf16}),
                     testing::Values(2, 4, 5)),
    [](const auto& test) {
      return std::get<0>(test.param).name + "On" + std::to_string(std::get<1>(test.param));
    });

INSTANTIATE_TEST_SUITE_P(
    SharedExperts, ReplicasOfTest,
    testing::Values(
        std::tuple(Recipe{.name = "ByTwo", .parallel = {.experts = 2}}, 2),
        std::tuple(Recipe{.name = "ByTwoAndData", .parallel = {.experts = 2}}, 4),
        std::tuple(Recipe{.name = "ByFour", .micro_batch_size = 0, .parallel = {.experts = 4}}, 4),
        std::tuple(Recipe{.name = "ByFourOfTwoNodes", .parallel = {.experts = 4}, .ranks_per_node = 2}, 4),
        std::tuple(Recipe{.name = "ByEight", .parallel = {.experts = 8}}, 8),
        std::tuple(Recipe{.name = "ByFourAndData", .parallel = {.experts = 4}}, 8),
        std::tuple(
            Recipe{
                .name = "UnevenShares", .batch_size = 6, .micro_batch_size = 2, .parallel = {.experts = 2}},
            4),
        std::tuple(
            Recipe{
                .name = "WithoutTokens", .batch_size = 3, .micro_batch_size = 1, .parallel = {.experts = 4}},
            4),
        std::tuple(
            Recipe{
                .name = "WithoutShare", .batch_size = 3, .micro_batch_size = 0, .parallel = {.experts = 4}},
            4),
        std::tuple(Recipe{.name = "Muon", .optimizer = OptimizerKind::muon, .parallel = {.experts = 2}}, 4)),
    [](const auto& test) {
      return std::get<0>(test.param).name + "On" + std::to_string(std::get<1>(test.param));
    });

INSTANTIATE_TEST_SUITE_P(
    Pipelines, ReplicasOfTest,
    testing::Values(
        std::tuple(Recipe{.name = "OneFOneB",
                          .parallel = {.pipeline = 2, .schedule = PipelineKind::one_f_one_b}},
                   2),
        std::tuple(
            Recipe{.name = "Interleaved",
                   .parallel = {.pipeline = 2, .schedule = PipelineKind::interleaved, .stages_per_rank = 2}},
            2),
        std::tuple(Recipe{.name = "Zb1p", .parallel = {.pipeline = 4, .schedule = PipelineKind::zb1p}}, 4),
        std::tuple(
            Recipe{.name = "DualPipe", .parallel = {.pipeline = 2, .schedule = PipelineKind::dualpipe}}, 2),
        std::tuple(Recipe{.name = "DualPipeV",
                          .parallel = {.pipeline = 2, .schedule = PipelineKind::dualpipe_v}},
                   2),
        std::tuple(Recipe{.name = "Muon",
                          .optimizer = OptimizerKind::muon,
                          .parallel = {.pipeline = 2, .schedule = PipelineKind::dualpipe}},
                   4),
        // Fewer micro-batches than the schedule has: the others have no tokens.
        std::tuple(Recipe{.name = "FewMicroBatches",
                          .batch_size = 3,
                          .parallel = {.pipeline = 4, .schedule = PipelineKind::dualpipe}},
                   4),
        std::tuple(Recipe{.name = "UnevenReplicas",
                          .batch_size = 3,
                          .parallel = {.pipeline = 2, .schedule = PipelineKind::zb1p}},
                   4),
        std::tuple(Recipe{.name = "WithData", .parallel = {.pipeline = 4, .schedule = PipelineKind::zb1p}},
                   8),
        std::tuple(Recipe{.name = "WithExperts",
                          .parallel = {.pipeline = 2, .schedule = PipelineKind::dualpipe, .experts = 2}},
                   4),
        std::tuple(Recipe{.name = "WithExpertsAndData",
                          .parallel = {.pipeline = 2, .schedule = PipelineKind::dualpipe_v, .experts = 2}},
                   8)),
    [](const auto& test) {
      return std::get<0>(test.param).name + "On" + std::to_string(std::get<1>(test.param));
    });

INSTANTIATE_TEST_SUITE_P(
    SharedSequences, ReplicasOfTest,
    testing::Values(
        std::tuple(Recipe{.name = "ByTwo", .parallel = {.context = 2}}, 2),
        std::tuple(Recipe{.name = "ByThree", .parallel = {.context = 3}}, 3),
        std::tuple(Recipe{.name = "ByFour", .micro_batch_size = 0, .parallel = {.context = 4}}, 4),
        // More pieces than tokens: some have none.
        std::tuple(Recipe{.name = "ByEight", .parallel = {.context = 8}}, 8),
        std::tuple(Recipe{.name = "ByTwoAndData", .parallel = {.context = 2}}, 8),
        std::tuple(
            Recipe{
                .name = "UnevenShares", .batch_size = 6, .micro_batch_size = 2, .parallel = {.context = 2}},
            8),
        std::tuple(Recipe{.name = "BatchLoss", .balance = Balance::aux_loss, .parallel = {.context = 4}}, 4),
        std::tuple(Recipe{.name = "WithExperts", .parallel = {.experts = 4, .context = 2}}, 8),
        std::tuple(Recipe{.name = "WithExpertsWithoutTokens",
                          .batch_size = 3,
                          .parallel = {.experts = 4, .context = 2}},
                   4),
        std::tuple(Recipe{.name = "WithPipeline",
                          .parallel = {.pipeline = 2, .schedule = PipelineKind::zb1p, .context = 2}},
                   4),
        std::tuple(
            Recipe{
                .name = "WithDualPipeAndExperts",
                .parallel = {.pipeline = 2, .schedule = PipelineKind::dualpipe, .experts = 2, .context = 2}},
            8)),
    [](const auto& test) {
      return std::get<0>(test.param).name + "On" + std::to_string(std::get<1>(test.param));
    });

class NarrowReplicasTest : public ReplicasTest, public testing::WithParamInterface<Precision> {};

TEST_P(NarrowReplicasTest, SharingSequencesRoundsNoMoreThanOneProcessDoes) {
  const Recipe recipe{.name = "", .precision = GetParam(), .parallel = {.context = 4}};
  const Outcome exact = train({.name = ""}, 1);
  const Outcome one = train(recipe, 1);
  const Outcome four = train(recipe, 4);
  EXPECT_NEAR(four.losses[0], one.losses[0], 1e-4 * one.losses[0]);
  // Of the parameter that is rounded worst: other sums are rounded otherwise, as much.
  EXPECT_LT(distance(four.gradients, exact.gradients), 1.5 * distance(one.gradients, exact.gradients));
  EXPECT_EQ(four, train(recipe, 4));
}

INSTANTIATE_TEST_SUITE_P(Precisions, NarrowReplicasTest, testing::Values(Precision::bf16, Precision::fp8),
                         [](const auto& test) { return test.param == Precision::fp8 ? "Fp8" : "Bf16"; });

TEST_F(ReplicasTest, WithOneRankGatheringCopiesNothing) {
  test::on_ranks(1, [&](Communicator& ranks) {
    TransformerWeights weights = random_weights(config_, 1);
    Optimizer optimizer(config_, weights);
    Replicas replicas(ranks, config_, weights, optimizer);
    EXPECT_EQ(replicas.gather_moments().first_block.data(), optimizer.moments().first_block.data());
  });
}

}  // namespace
}  // namespace fathom
