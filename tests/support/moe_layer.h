#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom::test {

/// Numbers made from a hash of the index, uniform in [-scale, scale): `values` of
/// tests/model/goldens/make_moe_goldens.py.
Tensor hashed_values(std::uint32_t seed, const Shape& shape, float scale);

/// The MoE layer that make_moe_goldens.py builds for a config: all weights from `hashed_values`.
MoeWeights hashed_moe_weights(const ModelConfig& config, float bias_offset = 0.0F);

/// Zeros in the shapes of `weights`: gradients to add to.
MoeWeights zeros_like(const MoeWeights& weights);

/// The trainable tensors in a fixed order: router, every expert's three matrices, the shared experts' three.
std::vector<Tensor*> trainable(MoeWeights& weights);

}  // namespace fathom::test
