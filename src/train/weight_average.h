#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/weights.h"

namespace fathom {

/// The exponential moving average of a model's weights (technical report, section 3.2.1): after each step
/// average = decay · average + (1 - decay) · weights, selection biases included. It estimates early what the
/// model would be after the learning rate's decay. f32; memory as the weights. Threads change no bit of it.
class WeightAverage {
 public:
  /// Begins with the average given, f32 and of the same model.
  /// @param weights  to average; must outlive this
  WeightAverage(const ModelConfig& config, TransformerWeights& weights, TransformerWeights average,
                double decay);

  void update(const Context& context);
  [[nodiscard]] const TransformerWeights& weights() const { return average_; }

 private:
  struct Chunk {
    const float* weight;
    float* average;
    std::int64_t count;
  };

  TransformerWeights average_;
  float rate_;  // 1 - decay
  std::vector<Chunk> chunks_;
};

/// An f32 copy of f32 weights.
TransformerWeights copy_weights(const ModelConfig& config, const TransformerWeights& weights);

}  // namespace fathom
