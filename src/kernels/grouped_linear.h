#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/linear.h"

namespace fathom::kernels {

// The products of many linear maps at once, shared by all threads: the experts of a layer, or several
// projections of one input. Every map is cut into items by its own sizes, so a map's result is the same alone
// and in company, whatever the thread count; efficient from one token a map (decode: weights are streamed
// once) to thousands.
//
// Maps without tokens cost nothing. Outputs of different jobs must not overlap.

/// y[tokens, out] = x[tokens, in] · Wᵀ: `linear_forward`.
struct LinearForward {
  WeightMatrix w;
  const float* x;
  std::int64_t tokens;
  float* y;
};
void grouped_linear_forward(ThreadPool& pool, std::span<const LinearForward> jobs);

/// dx[tokens, in] = dy[tokens, out] · W, added to `dx` where `accumulate`: `linear_backward_input`.
struct LinearBackwardInput {
  WeightMatrix w;
  const float* dy;
  std::int64_t tokens;
  float* dx;
  bool accumulate;
};
void grouped_linear_backward_input(ThreadPool& pool, std::span<const LinearBackwardInput> jobs);

/// dw[out, in] += dy[tokens, out]ᵀ · x[tokens, in]: `linear_backward_weight`.
struct LinearBackwardWeight {
  const float* dy;
  const float* x;
  std::int64_t tokens;
  std::int64_t out;
  std::int64_t in;
  float* dw;
};
void grouped_linear_backward_weight(ThreadPool& pool, std::span<const LinearBackwardWeight> jobs);

}  // namespace fathom::kernels
