#pragma once

#include "model/config.h"
#include "tensor/tensor.h"

namespace fathom {

// kv_b_proj, [heads · (qk_nope_head_dim + v_head_dim), kv_lora_rank], and the halves that newer GGUF files
// store.

struct KvHalves {
  Tensor k_b;  // [heads, kv_lora_rank, qk_nope_head_dim]: W^UK, each head's transposed
  Tensor v_b;  // [heads, v_head_dim, kv_lora_rank]: W^UV
};

/// The whole matrix, in the halves' type where both are of one plain type, else in F16: of types of blocks no
/// more than one part in 4,000 is lost.
Tensor join_halves(const ModelConfig& config, const KvHalves& halves);

/// W^UK alone, in f32. @param kv_b  of any float type or of blocks
Tensor key_half(const ModelConfig& config, const Tensor& kv_b);

/// Both halves, in f32. @param kv_b  f32
KvHalves split_into_halves(const ModelConfig& config, const Tensor& kv_b);

}  // namespace fathom
