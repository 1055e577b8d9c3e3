#include "model/stacked_experts.h"

#include <cstdint>

#include "base/error.h"
#include "tensor/block_scaled.h"

namespace fathom {

std::string stacked_parameter(const ModelConfig& config, const StackedAdapter& stacked) {
  const Shape shape = {stacked.b.dim(0), stacked.a.dim(1)};
  if (shape == Shape{2 * config.moe_intermediate_size, config.hidden_size}) return "gate_up_proj";
  if (shape == Shape{config.hidden_size, config.moe_intermediate_size}) return "down_proj";
  return {};
}

std::vector<ExpertAdapter> take_apart(const ModelConfig& config, const StackedAdapter& stacked) {
  const bool is_up = stacked_parameter(config, stacked) == "gate_up_proj";
  const std::int64_t experts = config.n_routed_experts;
  const std::int64_t rank = stacked.a.dim(0) / experts;
  const std::int64_t inner = config.moe_intermediate_size;
  const Tensor a = to_f32(stacked.a);
  const Tensor b = to_f32(stacked.b);
  std::vector<ExpertAdapter> apart;
  for (std::int64_t expert = 0; expert < experts; ++expert) {
    const Tensor own_a = a.rows(expert * rank, (expert + 1) * rank);
    Tensor own_b = Tensor::empty({b.dim(0), rank});
    for (std::int64_t row = 0; row < b.dim(0); ++row)
      for (std::int64_t r = 0; r < rank; ++r)
        own_b.f32()[row * rank + r] = b.f32()[row * b.dim(1) + r * experts + expert];
    if (is_up) {
      apart.push_back({fmt::format("{}.gate_proj", expert), own_a, own_b.rows(0, inner)});
      apart.push_back({fmt::format("{}.up_proj", expert), own_a, own_b.rows(inner, 2 * inner)});
    } else {
      apart.push_back({fmt::format("{}.down_proj", expert), own_a, own_b});
    }
  }
  return apart;
}

}  // namespace fathom
