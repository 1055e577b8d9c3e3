#include "model/norm.h"

#include "kernels/norm.h"

namespace fathom {

Tensor norm_forward(const Context& context, const ModelConfig& config, const Tensor& weight,
                    const Tensor& x) {
  const std::int64_t dim = weight.size();
  Tensor y = Tensor::empty(x.shape());
  kernels::rmsnorm_forward(context.pool, x.f32(), dim, weight.f32(), config.rms_norm_eps, x.size() / dim, dim,
                           y.f32(), dim);
  return y;
}

void norm_backward_input(const Context& context, const ModelConfig& config, const Tensor& weight,
                         const Tensor& x, const Tensor& dy, Tensor& dx) {
  const std::int64_t dim = weight.size();
  kernels::rmsnorm_backward_input(context.pool, dy.f32(), dim, x.f32(), dim, weight.f32(),
                                  config.rms_norm_eps, x.size() / dim, dim, dx.f32(), dim,
                                  /*accumulate=*/true);
}

void norm_backward_weight(const Context& context, const ModelConfig& config, const Tensor& x,
                          const Tensor& dy, Tensor& grad) {
  const std::int64_t dim = grad.size();
  kernels::rmsnorm_backward_weight(context.pool, dy.f32(), dim, x.f32(), dim, config.rms_norm_eps,
                                   x.size() / dim, dim, grad.f32());
}

}  // namespace fathom
