#pragma once

#include <span>

#include "base/thread_pool.h"
#include "kernels/grouped_linear.h"

namespace fathom::kernels {

/// The part of `grouped_linear_forward` that has weights in block types (kernels/quant_linear.h); other jobs
/// are passed over. Jobs of one input that follow one another share its quantisation.
void grouped_quant_forward(ThreadPool& pool, std::span<const LinearForward> jobs);

}  // namespace fathom::kernels
