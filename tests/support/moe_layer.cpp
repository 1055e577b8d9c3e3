#include "support/moe_layer.h"

namespace fathom::test {
namespace {

MlpWeights hashed_mlp(std::uint32_t seed, std::int64_t width, std::int64_t hidden) {
  MlpWeights mlp;
  mlp.gate_proj.weight = hashed_values(seed, {width, hidden}, 0.5F);
  mlp.up_proj.weight = hashed_values(seed + 1, {width, hidden}, 0.5F);
  mlp.down_proj.weight = hashed_values(seed + 2, {hidden, width}, 0.5F);
  return mlp;
}

}  // namespace

Tensor hashed_values(std::uint32_t seed, const Shape& shape, float scale) {
  Tensor tensor = Tensor::empty(shape);
  std::uint32_t index = 0;
  for (float& value : tensor.values()) {
    std::uint32_t h = ++index * 2654435761U ^ seed * 40503U;
    h = (h ^ h >> 16U) * 0x85EBCA6BU;
    h = (h ^ h >> 13U) * 0xC2B2AE35U;
    h ^= h >> 16U;
    value = (static_cast<float>(h >> 8U) * 0x1p-23F - 1.0F) * scale;
  }
  return tensor;
}

MoeWeights hashed_moe_weights(const ModelConfig& config, float bias_offset) {
  MoeWeights weights;
  const std::int64_t experts = config.n_routed_experts;
  weights.router = hashed_values(1, {experts, config.hidden_size}, 0.8F);
  if (config.topk_method == TopkMethod::noaux_tc) {
    weights.e_score_correction_bias = hashed_values(2, {experts}, 0.4F);
    for (float& bias : weights.e_score_correction_bias.values()) bias += bias_offset;
  }
  for (std::int64_t e = 0; e < experts; ++e)
    weights.experts.push_back(hashed_mlp(static_cast<std::uint32_t>(100 + 3 * e),
                                         config.moe_intermediate_size, config.hidden_size));
  if (config.n_shared_experts > 0)
    weights.shared_experts =
        hashed_mlp(3, config.n_shared_experts * config.moe_intermediate_size, config.hidden_size);
  return weights;
}

MoeWeights zeros_like(const MoeWeights& weights) {
  MoeWeights zeros = weights;
  for (Tensor* tensor : trainable(zeros)) *tensor = Tensor::zeros(tensor->shape());
  return zeros;
}

std::vector<Tensor*> trainable(MoeWeights& weights) {
  std::vector<Tensor*> tensors = {&weights.router};
  const auto add = [&](MlpWeights& mlp) {
    for (LinearWeight* w : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj}) tensors.push_back(&w->weight);
  };
  for (MlpWeights& expert : weights.experts) add(expert);
  if (weights.shared_experts.gate_proj.weight.defined()) add(weights.shared_experts);
  return tensors;
}

}  // namespace fathom::test
