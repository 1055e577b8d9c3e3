#pragma once

#include <cstdint>

namespace fathom::kernels {

// What happens to single rows on their way to and from the experts; each function runs on the calling thread.

/// y += sum over j of weights[j] · rows[index[j]], j ascending for every element, in one pass over y.
/// @param rows     [any, dim]
/// @param index    [count], which rows
/// @param weights  [count]; null: all 1
/// @param y        [dim]
void add_weighted_rows(const float* rows, const std::int32_t* index, const float* weights, std::int64_t count,
                       std::int64_t dim, float* y);

/// `swiglu_backward` of one row behind a routing gate: the output was weight · W · p with p = silu(gate) ·
/// up. Writes weight · p and weight times the gradients at gate and up, and returns the weight's own
/// gradient, dproduct · p.
/// @param dproduct  [dim], the gradient at p but for the factor `weight`
/// @param product   [dim], weight · p; may be `dproduct`
float gated_swiglu_backward(const float* dproduct, const float* gate, const float* up, float weight,
                            std::int64_t dim, float* dgate, float* dup, float* product);

}  // namespace fathom::kernels
