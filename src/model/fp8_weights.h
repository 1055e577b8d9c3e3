#pragma once

#include "model/context.h"
#include "model/weights.h"

namespace fathom {

/// Quantises the weights that the FP8 recipe multiplies in FP8, `LinearWeight::fp8`: those that released
/// checkpoints hold in FP8. To be called before the first forward pass and after each change of the weights;
/// the same codes serve forward and backward. Memory: a byte a weight, made by the first call.
/// @param weights  f32
void quantize_weights(const Context& context, TransformerWeights& weights);

}  // namespace fathom
