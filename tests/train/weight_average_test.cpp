#include "train/weight_average.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/tiny_model.h"

namespace fathom {
namespace {

std::vector<float> values_of(const ModelConfig& config, TransformerWeights weights) {
  std::vector<float> values;
  visit_parameters(config, weights, [&](const ParameterSpec&, Tensor& value, Tensor*) {
    values.insert(values.end(), value.values().begin(), value.values().end());
  });
  return values;
}

TEST(WeightAverageTest, ForgetsGeometrically) {
  const ModelConfig config = test::tiny_v3();
  TransformerWeights weights = random_weights(config, 1);
  const std::vector<float> begin = values_of(config, weights);
  ThreadPool pool(3);
  WeightAverage average(config, weights, copy_weights(config, weights), 0.75);
  const TransformerWeights other = random_weights(config, 2);
  const std::vector<float> end = values_of(config, other);
  TransformerWeights source = other;
  std::vector<Tensor> sources;
  visit_parameters(config, source,
                   [&](const ParameterSpec&, Tensor& value, Tensor*) { sources.push_back(value); });
  std::size_t i = 0;
  visit_parameters(config, weights, [&](const ParameterSpec&, Tensor& value, Tensor*) {
    std::ranges::copy(sources[i++].values(), value.f32());
  });
  for (int step = 0; step < 2; ++step) average.update(Context{pool});
  const std::vector<float> got = values_of(config, average.weights());
  for (std::size_t k = 0; k < got.size(); ++k)
    ASSERT_NEAR(got[k], 0.5625F * begin[k] + 0.4375F * end[k], 3e-7F) << k;
}

TEST(WeightAverageTest, ACopyIsItsOwn) {
  const ModelConfig config = test::tiny_v3();
  TransformerWeights weights = random_weights(config, 1);
  const TransformerWeights copy = copy_weights(config, weights);
  const std::vector<float> before = values_of(config, copy);
  EXPECT_EQ(before, values_of(config, weights));
  weights.norm.f32()[0] = 7;
  EXPECT_EQ(before, values_of(config, copy));
}

}  // namespace
}  // namespace fathom
