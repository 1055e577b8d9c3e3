#include "kernels/linear.h"

#include "base/error.h"
#include "kernels/gemm.h"

namespace fathom::kernels {
namespace {

const float* f32_data(const WeightMatrix& w) {
  require(w.dtype == DType::f32, "a weight of {} was used where F32 is needed", dtype_name(w.dtype));
  return static_cast<const float*>(w.data);
}

}  // namespace

void linear_forward(ThreadPool& pool, const float* x, std::int64_t tokens, const WeightMatrix& w, float* y) {
  gemm(pool, tokens, w.out, w.in, 1.0F, {x, w.in}, {f32_data(w), w.in, Transpose::yes}, 0.0F, y, w.out);
}

void linear_backward_input(ThreadPool& pool, const float* dy, std::int64_t tokens, const WeightMatrix& w,
                           float* dx, bool accumulate) {
  gemm(pool, tokens, w.in, w.out, 1.0F, {dy, w.out}, {f32_data(w), w.in}, accumulate ? 1.0F : 0.0F, dx, w.in);
}

void linear_backward_weight(ThreadPool& pool, const float* dy, const float* x, std::int64_t tokens,
                            std::int64_t out, std::int64_t in, float* dw) {
  gemm(pool, out, in, tokens, 1.0F, {dy, out, Transpose::yes}, {x, in}, 1.0F, dw, in);
}

}  // namespace fathom::kernels
