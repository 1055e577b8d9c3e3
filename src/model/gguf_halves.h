#pragma once

#include "model/config.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

// Between kv_b_proj whole and in halves.

/// The whole matrix, in the halves' type where both are of one plain type, else in F16: of types of blocks no
/// more than one part in 4,000 is lost.
Tensor join_halves(const ModelConfig& config, const KvHalves& halves);

/// W^UK alone, in f32. @param kv_b  of any float type or of blocks
Tensor key_half(const ModelConfig& config, const Tensor& kv_b);

/// Both halves, in f32. @param kv_b  f32
KvHalves split_into_halves(const ModelConfig& config, const Tensor& kv_b);

}  // namespace fathom
