#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "model/config.h"
#include "model/weights.h"
#include "numerics/dtype.h"

namespace fathom {

/// Weights of any size and type in seconds, for measuring speed: matrices take pieces of one block of normal
/// values, so large, but of no use to say anything. Where a row is no whole number of blocks of `type`,
/// matrices are Q8_0. Norms are ones, routers f32.
/// @param type  of the matrices, embedding and head: f32, bf16, f16 or of blocks
TransformerWeights synthetic_weights(ThreadPool& pool, const ModelConfig& config, DType type,
                                     std::uint64_t seed);

/// The type that such weights have of a parameter: `type` or Q8_0 of matrices, else f32.
DType synthetic_type(const ParameterSpec& spec, DType type);

}  // namespace fathom
