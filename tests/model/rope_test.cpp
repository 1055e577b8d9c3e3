#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/shared_data.h"

namespace fathom {
namespace {

ModelConfig golden_config(const nlohmann::json& golden) {
  ModelConfig config;
  config.qk_rope_head_dim = golden["dim"];
  const nlohmann::json& rope = golden["rope"];
  config.rope_theta = rope["rope_theta"];
  if (rope["rope_type"] == "yarn") {
    YarnScaling yarn;
    yarn.factor = rope["factor"];
    yarn.original_max_position_embeddings = rope["original_max_position_embeddings"];
    yarn.mscale = rope.value("mscale", 1.0);
    yarn.mscale_all_dim = rope.value("mscale_all_dim", 0.0);
    config.rope_scaling = yarn;
  }
  return config;
}

TEST(RopeTest, MatchesTransformersFrequenciesAndAngles) {
  std::ifstream file(test::golden("model/goldens/rope.json"));
  const nlohmann::json goldens = nlohmann::json::parse(file);
  ASSERT_EQ(goldens.size(), 5U);
  for (const nlohmann::json& golden : goldens) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const ModelConfig config = golden_config(golden);
    const std::vector<double> frequencies = rope_frequencies(config);
    const std::vector<double> expected = golden["frequencies"];
    ASSERT_EQ(frequencies.size(), expected.size());
    // torch's f32 power is within 1 ulp; ours is rounded from double.
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(frequencies[i], expected[i], 2.5e-7 * expected[i]) << i;

    const std::vector<std::int64_t> positions = golden["positions"];
    const std::vector<double> cosines = golden["cosines"];
    const std::vector<double> sines = golden["sines"];
    const RopeTable table(config, positions.back() + 1);
    const std::size_t half = expected.size();
    for (std::size_t p = 0; p < positions.size(); ++p) {
      for (std::size_t i = 0; i < half; ++i) {
        // A frequency's last bit moves the angle by the position times as much.
        const double tolerance = 3e-7 + 2.5e-7 * static_cast<double>(positions[p]) * expected[i];
        EXPECT_NEAR(table.cosines(positions[p])[i], cosines[p * half + i], tolerance) << positions[p];
        EXPECT_NEAR(table.sines(positions[p])[i], sines[p * half + i], tolerance) << positions[p];
      }
    }
  }
}

}  // namespace
}  // namespace fathom
