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
        const ParameterShards shards(config, optimizer, ranks);
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
    const ParameterShards shards(config, OptimizerKind::adamw, ranks);
    for (const auto& [layer, bounds] : shards.buckets())
      for (std::size_t r = 0; r + 1 < bounds.size(); ++r)
        EXPECT_NEAR(static_cast<double>(bounds[r + 1] - bounds[r]),
                    static_cast<double>(bounds.back() - bounds.front()) / ranks,
                    static_cast<double>(widest[layer] + kGap));
  }
}

TEST(ParameterShardsTest, BucketsAreLayersInTheOrderOfTheBlock) {
  ModelConfig config = test::tiny_v3();
  config.num_nextn_predict_layers = 1;
  std::vector<std::int64_t> layers;
  std::size_t next = 0;
  const ParameterShards shards(config, OptimizerKind::adamw, 2);
  for (const auto& [layer, bounds] : shards.buckets()) {
    layers.push_back(layer);
    EXPECT_EQ(bounds.front(), next);
    next = bounds.back();
  }
  EXPECT_THAT(layers, testing::ElementsAre(-1, 0, 1, 2, -1, 3)) << "embedding, layers, norm and head, MTP";
  EXPECT_EQ(static_cast<std::int64_t>(next), block_offsets(config).back());
}

TEST(ParameterShardsTest, MuonsMatricesAreNotCut) {
  const ModelConfig config = test::tiny_v3();
  const ParameterShards shards(config, OptimizerKind::muon, 9);
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
  const ParameterShards shards(config, OptimizerKind::adamw, kRanks);
  for (const auto& [layer, bounds] : shards.buckets())
    for (int r = 0; r < kRanks; ++r) {
      const auto at = static_cast<std::size_t>(r);
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
