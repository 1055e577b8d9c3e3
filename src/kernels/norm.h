#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// y[t] = x[t] / sqrt(mean(x[t]²) + eps) · weight, per row of [tokens, dim]. `y` may be `x`.
/// Rows of x and y are `x_stride` and `y_stride` apart, so a norm can read or write a slice of wider rows.
void rmsnorm_forward(ThreadPool& pool, const float* x, std::int64_t x_stride, const float* weight, double eps,
                     std::int64_t tokens, std::int64_t dim, float* y, std::int64_t y_stride);

/// dx[t] from dy[t], the norm's input and its weight; added to `dx` where `accumulate`.
void rmsnorm_backward_input(ThreadPool& pool, const float* dy, std::int64_t dy_stride, const float* x,
                            std::int64_t x_stride, const float* weight, double eps, std::int64_t tokens,
                            std::int64_t dim, float* dx, std::int64_t dx_stride, bool accumulate);

/// dweight += sum over tokens of dy · x / rms(x), in a fixed order.
void rmsnorm_backward_weight(ThreadPool& pool, const float* dy, std::int64_t dy_stride, const float* x,
                             std::int64_t x_stride, double eps, std::int64_t tokens, std::int64_t dim,
                             float* dweight);

}  // namespace fathom::kernels
