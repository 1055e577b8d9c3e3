#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// out = silu(gate) · up, elementwise. `out` may be `gate` or `up`.
void swiglu_forward(ThreadPool& pool, const float* gate, const float* up, std::int64_t count, float* out);

/// From dproduct, the gradient at silu(gate) · up: dgate, dup, and `product` = silu(gate) · up again, which
/// down_proj's weight gradient needs (recomputed rather than kept). An output may be an input.
void swiglu_backward(ThreadPool& pool, const float* dproduct, const float* gate, const float* up,
                     std::int64_t count, float* dgate, float* dup, float* product);

}  // namespace fathom::kernels
