#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/config.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

TEST(ConfigTest, SoftmaxScaleOfV3IsThePublishedOne) {
  ModelConfig config;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.rope_scaling = YarnScaling{40, 4096, 32, 1, 1, 1, {}};
  EXPECT_NEAR(config.softmax_scale(), 0.135234, 5e-7);  // DESIGN section 6
  EXPECT_EQ(config.rope_scaling->cos_sin_factor(), 1.0);
}

class ReleasedConfigTest : public testing::TestWithParam<const char*> {};

TEST_P(ReleasedConfigTest, IsReadAndSurvivesARoundTrip) {
  FATHOM_SHARED_DATA_OR_SKIP(shared);
  const ModelConfig config = load_model_config(shared / "configs" / (std::string(GetParam()) + ".json"));
  const OrderedJson written = model_config_to_json(config);
  const ModelConfig again = model_config_from_json(Json::parse(written.dump()), "again");
  EXPECT_EQ(model_config_to_json(again), written);
}

INSTANTIATE_TEST_SUITE_P(Models, ReleasedConfigTest,
                         testing::Values("DeepSeek-V2", "DeepSeek-V2-Lite", "DeepSeek-V3", "DeepSeek-V3.1",
                                         "Moonlight-16B-A3B", "Kimi-K2"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
                           return name;
                         });

TEST(ConfigTest, EveryTinyModelSurvivesARoundTrip) {
  for (const test::NamedConfig& model : test::tiny_models()) {
    const OrderedJson written = model_config_to_json(model.config);
    const ModelConfig again = model_config_from_json(Json::parse(written.dump()), model.name);
    EXPECT_EQ(model_config_to_json(again), written) << model.name;
  }
}

}  // namespace
}  // namespace fathom
