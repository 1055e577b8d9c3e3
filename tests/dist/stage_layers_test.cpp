#include "dist/stage_layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Layers whose parts cost nothing beside their experts: all the same, but for what the last one has.
ModelConfig even_model(std::int64_t layers) {
  ModelConfig config = test::tiny_v3();
  config.num_hidden_layers = layers;
  config.first_k_dense_replace = 0;
  return config;
}

TEST(StageLayersTest, LayersAreSharedOutEvenly) {
  EXPECT_THAT(split_layers(even_model(9), 3), ElementsAre(LayerRun{0, 3}, LayerRun{3, 6}, LayerRun{6, 9}));
  EXPECT_THAT(split_layers(even_model(9), 1), ElementsAre(LayerRun{0, 9}));
  EXPECT_THAT(split_layers(even_model(2), 2), ElementsAre(LayerRun{0, 1}, LayerRun{1, 2}));
}

TEST(StageLayersTest, HeadAndMtpModulesTakeThePlaceOfLayers) {
  ModelConfig config = even_model(9);
  config.num_nextn_predict_layers = 2;
  EXPECT_THAT(split_layers(config, 3), ElementsAre(LayerRun{0, 4}, LayerRun{4, 8}, LayerRun{8, 9}));
  ModelConfig wide = even_model(9);
  wide.vocab_size = 100000;
  EXPECT_THAT(split_layers(wide, 3), ElementsAre(LayerRun{0, 4}, LayerRun{4, 8}, LayerRun{8, 9}));
  wide.tie_word_embeddings = true;
  EXPECT_THAT(split_layers(wide, 3), ElementsAre(LayerRun{0, 4}, LayerRun{4, 8}, LayerRun{8, 9}));
}

TEST(StageLayersTest, FewerLayersThanStagesAreAnError) {
  EXPECT_THAT(test::error_of([] { (void)split_layers(even_model(3), 4); }),
              HasSubstr("3 layers cannot be cut into 4 pipeline stages"));
}

TEST(StageLayersTest, RanksHoldTheLayersOfTheirStages) {
  EXPECT_THAT(
      layers_of_ranks(even_model(4), {.kind = PipelineKind::dualpipe, .stages = 4, .micro_batches = 8}),
      ElementsAre(ElementsAre(LayerRun{0, 1}, LayerRun{3, 4}), ElementsAre(LayerRun{1, 2}, LayerRun{2, 3}),
                  ElementsAre(LayerRun{1, 2}, LayerRun{2, 3}), ElementsAre(LayerRun{0, 1}, LayerRun{3, 4})));
}

}  // namespace
}  // namespace fathom
