#include "model/norm.h"

#include "kernels/norm.h"

namespace fathom {

Tensor norm_forward(const Context& context, double eps, const Tensor& weight, const Tensor& x) {
  const std::int64_t dim = weight.size();
  Tensor y = Tensor::empty({x.dim(0), dim});
  kernels::rmsnorm_forward(context.pool, x.f32(), x.dim(1), weight.f32(), eps, x.dim(0), dim, y.f32(), dim);
  return y;
}

void norm_backward_input(const Context& context, double eps, const Tensor& weight, const Tensor& x,
                         const Tensor& dy, Tensor& dx) {
  const std::int64_t dim = weight.size();
  kernels::rmsnorm_backward_input(context.pool, dy.f32(), dim, x.f32(), x.dim(1), weight.f32(), eps, x.dim(0),
                                  dim, dx.f32(), dx.dim(1),
                                  /*accumulate=*/true);
}

void norm_backward_weight(const Context& context, double eps, const Tensor& x, const Tensor& dy,
                          Tensor& grad) {
  const std::int64_t dim = grad.size();
  kernels::rmsnorm_backward_weight(context.pool, dy.f32(), dim, x.f32(), x.dim(1), eps, x.dim(0), dim,
                                   grad.f32());
}

}  // namespace fathom
