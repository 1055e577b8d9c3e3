#include "kernels/linear.h"

#include "kernels/grouped_linear.h"

namespace fathom::kernels {

void linear_forward(ThreadPool& pool, const float* x, std::int64_t tokens, const WeightMatrix& w, float* y) {
  const LinearForward job{w, x, tokens, y};
  grouped_linear_forward(pool, {&job, 1});
}

void linear_backward_input(ThreadPool& pool, const float* dy, std::int64_t tokens, const WeightMatrix& w,
                           float* dx, bool accumulate) {
  const LinearBackwardInput job{w, dy, tokens, dx, accumulate};
  grouped_linear_backward_input(pool, {&job, 1});
}

void linear_backward_weight(ThreadPool& pool, const float* dy, const float* x, std::int64_t tokens,
                            std::int64_t out, std::int64_t in, float* dw) {
  const LinearBackwardWeight job{dy, x, tokens, out, in, dw};
  grouped_linear_backward_weight(pool, {&job, 1});
}

}  // namespace fathom::kernels
