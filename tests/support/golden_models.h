#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/sequences.h"
#include "model/transformer.h"
#include "model/weights.h"

namespace fathom::test {

/// What autograd says of one parameter's gradient: its Euclidean norm and its products with random vectors.
struct GradientDigest {
  std::string parameter;
  float norm = 0;
  std::vector<float> projections;
};

/// A tiny model and what transformers computes with it; made by tests/model/goldens/
/// make_transformer_goldens.py, which says how.
struct GoldenModel {
  std::string name;
  std::uint64_t seed = 0;
  ModelConfig config;
  std::vector<std::int32_t> tokens;  // of all sequences, one after the other
  Sequences sequences;
  std::vector<float> logits;  // [tokens, vocab]
  /// [MoE layer][token]: the chosen experts in ascending order.
  std::vector<std::vector<std::vector<std::int32_t>>> routing;

  // Only where `has_gradients`.
  bool has_gradients = false;
  std::vector<std::int32_t> targets;
  LossFactors factors;
  double main_loss = 0;
  std::vector<double> mtp_losses;
  double balance_loss = 0;
  double total_loss = 0;
  std::vector<GradientDigest> gradients;

  /// The weights that the goldens were computed with.
  [[nodiscard]] TransformerWeights weights() const;
  [[nodiscard]] std::vector<std::int32_t> sequence(std::int64_t s) const;
};

/// All of them, read once.
const std::vector<GoldenModel>& golden_models();

/// Numbers in [-0.5, 0.5) named by a seed and a text: what weights and projections are made of.
std::vector<float> named_random_values(std::uint64_t seed, std::string_view name, std::int64_t count);

}  // namespace fathom::test
