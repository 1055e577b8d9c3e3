#include "train/parameter_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "support/tiny_model.h"

namespace fathom {
namespace {

TEST(ParameterShardsTest, EveryRowBelongsToOneRankWhateverTheModel) {
  for (const auto& [name, config] : test::tiny_models())
    for (const OptimizerKind optimizer : {OptimizerKind::adamw, OptimizerKind::muon})
      for (const int ranks : {1, 2, 3, 8, 1000}) {
        const ParameterShards shards(config, optimizer, {.ranks = ranks});
        for (const ParameterSpec& spec : parameter_specs(config)) {
          std::int64_t next = 0;
          for (int r = 0; r < ranks; ++r) {
            const ParameterShards::Rows rows = shards.rows(spec, r);
            if (rows.count() == 0) continue;
            EXPECT_EQ(rows.begin, next) << name << " " << spec.name << ", rank " << r << " of " << ranks;
            next = rows.end;
          }
          EXPECT_EQ(next, spec.shape.front()) << name << " " << spec.name << ", ranks " << ranks;
        }
      }
}

TEST(ParameterShardsTest, OfEachLayerShardsAreAsLongAsEachOtherButForARow) {
  const ModelConfig config = test::tiny_v3();
  std::map<std::int64_t, std::int64_t> widest;  // by layer
  for (const ParameterSpec& spec : parameter_specs(config))
    widest[spec.layer] = std::max(widest[spec.layer], element_count(spec.shape) / spec.shape.front());
  constexpr std::int64_t kGap = 16;
  for (const int ranks : {2, 3, 7}) {
    const ParameterShards shards(config, OptimizerKind::adamw, {.ranks = ranks});
    for (const ParameterShards::Bucket& bucket : shards.buckets())
      for (std::size_t r = 0; r + 1 < bucket.bounds.size(); ++r)
        EXPECT_NEAR(static_cast<double>(bucket.bounds[r + 1] - bucket.bounds[r]),
                    static_cast<double>(bucket.bounds.back()) / ranks,
                    static_cast<double>(widest[bucket.layer] + kGap));
  }
}

TEST(ParameterShardsTest, BucketsAreLayersInTheOrderOfTheBlock) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  std::vector<std::int64_t> layers;
  std::size_t next = 0;
  const ParameterShards shards(config, OptimizerKind::adamw, {.ranks = 2});
  for (const ParameterShards::PlacedBucket& placed : shards.held_by(1)) {
    layers.push_back(placed.bucket->layer);
    EXPECT_EQ(placed.own, 1);
    EXPECT_EQ(placed.bounds().front(), next);
    next = placed.bounds().back();
  }
  EXPECT_THAT(layers, testing::ElementsAre(-1, 0, 1, 2, -1, 3)) << "embedding, layers, norm and head, MTP";
  EXPECT_EQ(static_cast<std::int64_t>(next), block_offsets(config).back());
}

TEST(ParameterShardsTest, OnlyRanksThatHoldAnExpertMoveIt) {
  const ModelConfig config = test::tiny_v3();  // 8 experts
  for (const OptimizerKind optimizer : {OptimizerKind::adamw, OptimizerKind::muon}) {
    const ParallelLayout layout = make_layout(4, {.experts = 2}, config);
    const ParameterShards shards(config, optimizer, layout);
    for (const ParameterSpec& spec : parameter_specs(config)) {
      std::int64_t rows = 0;
      for (int r = 0; r < layout.ranks; ++r) {
        const std::int64_t count = shards.rows(spec, r).count();
        rows += count;
        const bool is_elsewhere = spec.expert >= 0 && spec.expert / 4 != r % 2;
        EXPECT_TRUE(count == 0 || !is_elsewhere) << spec.name << " on " << r;
      }
      EXPECT_EQ(rows, spec.shape.front()) << spec.name;
    }
    EXPECT_THAT(shards.holder_sets(),
                testing::UnorderedElementsAre(testing::ElementsAre(0, 1, 2, 3), testing::ElementsAre(0, 2),
                                              testing::ElementsAre(1, 3)));
  }
}

// A rank's block has no room for what it does not hold.
TEST(ParameterShardsTest, BucketsFillEachRanksBlockOfWeights) {
  const ModelConfig config = test::tiny_v3();
  const ParallelLayout layout = make_layout(4, {.experts = 4}, config);
  const ParameterShards shards(config, OptimizerKind::adamw, layout);
  for (int r = 0; r < layout.ranks; ++r) {
    const TransformerWeights weights = zero_weights(config, nullptr, DType::f32, rows_on(layout, config, r));
    EXPECT_EQ(static_cast<std::int64_t>(shards.held_by(r).back().bounds().back()),
              block_of(config, weights).size());
  }
}

TEST(ParameterShardsTest, MuonsMatricesAreNotCut) {
  const ModelConfig config = test::tiny_v3();
  const ParameterShards shards(config, OptimizerKind::muon, {.ranks = 9});
  bool cuts_others = false;
  for (const ParameterSpec& spec : parameter_specs(config))
    for (int r = 0; r < 9; ++r) {
      const std::int64_t count = shards.rows(spec, r).count();
      const bool is_cut = count > 0 && count < spec.shape.front();
      if (is_muons(OptimizerKind::muon, spec.kind)) {
        EXPECT_FALSE(is_cut) << spec.name;
      }
      cuts_others = cuts_others || is_cut;
    }
  EXPECT_TRUE(cuts_others) << "the embedding, for one, is longer than a shard";
}

TEST(ParameterShardsTest, BoundsAreThePlacesOfTheRowsInABlockOfWeights) {
  const ModelConfig config = test::tiny_v3();
  constexpr int kRanks = 5;
  TransformerWeights weights = zero_weights(config);
  Tensor block = block_of(config, weights);
  const ParameterShards shards(config, OptimizerKind::adamw, {.ranks = kRanks});
  for (const ParameterShards::PlacedBucket& placed : shards.held_by(0))
    for (int r = 0; r < kRanks; ++r) {
      const auto at = static_cast<std::size_t>(r);
      const std::vector<std::size_t> bounds = placed.bounds();
      std::ranges::fill(block.values().subspan(bounds[at], bounds[at + 1] - bounds[at]),
                        static_cast<float>(r));
    }
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    for (int r = 0; r < kRanks; ++r) {
      const ParameterShards::Rows rows = shards.rows(spec, r);
      if (rows.count() == 0) continue;
      EXPECT_THAT(value.rows(rows.begin, rows.end).values(), testing::Each(static_cast<float>(r)))
          << spec.name;
    }
  });
}

}  // namespace
}  // namespace fathom
