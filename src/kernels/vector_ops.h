#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// out = a + b, elementwise. `out` may be `a` or `b`.
void add(ThreadPool& pool, const float* a, const float* b, std::int64_t count, float* out);

/// y += alpha · x.
void axpy(ThreadPool& pool, float alpha, const float* x, std::int64_t count, float* y);

/// values += rate · (target - values), on the calling thread.
void move_towards(const float* target, float rate, std::int64_t count, float* values);

}  // namespace fathom::kernels
