#include "model/weights.h"

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"

namespace fathom {
namespace {

/// Parameters begin at multiples of 64 bytes, a cache line and the widest vector.
constexpr std::int64_t kAlignedFloats = 64 / sizeof(float);

std::int64_t aligned_size(const ParameterSpec& spec) {
  return (element_count(spec.shape) + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
}

/// f32 weights in one zeroed block, which `arena` receives.
TransformerWeights weights_in_arena(const ModelConfig& config, Tensor& arena) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : parameter_specs(config))
    require(!__builtin_add_overflow(total, aligned_size(spec), &total),
            "the model has more parameters than 2^63");
  arena = Tensor::zeros({total});
  TransformerWeights weights;
  std::int64_t at = 0;
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    value = arena.rows(at, at + element_count(spec.shape)).reshape(spec.shape);
    at += aligned_size(spec);
  });
  tie_head(config, weights);
  return weights;
}

}  // namespace

void tie_head(const ModelConfig& config, TransformerWeights& weights) {
  if (config.tie_word_embeddings) weights.lm_head.weight = weights.embed_tokens;
}

TransformerWeights zero_weights(const ModelConfig& config, Tensor* arena) {
  Tensor block;
  TransformerWeights weights = weights_in_arena(config, block);
  if (arena != nullptr) *arena = block;
  return weights;
}

TransformerWeights random_weights(const ModelConfig& config, std::uint64_t seed) {
  TransformerWeights weights = zero_weights(config);
  std::uint64_t stream = 0;
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    Rng rng(seed, stream++);
    switch (spec.kind) {
      case ParameterKind::norm:
        std::ranges::fill(value.values(), 1.0F);
        break;
      case ParameterKind::bias:
      case ParameterKind::router_bias:
        break;
      case ParameterKind::embedding:
      case ParameterKind::head:
      case ParameterKind::linear:
      case ParameterKind::expert:
      case ParameterKind::router:
        for (float& x : value.values()) x = static_cast<float>(rng.normal() * config.initializer_range);
        break;
    }
  });
  return weights;
}

}  // namespace fathom
