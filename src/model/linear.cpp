#include "model/linear.h"

#include "base/error.h"

namespace fathom {
namespace {

/// Rows of a [tokens, ...] tensor.
std::int64_t token_count(const Tensor& x) {
  return x.dim(0);
}

}  // namespace

kernels::WeightMatrix LinearWeight::matrix() const {
  kernels::WeightMatrix w{weight.data(), weight.dtype(), weight.dim(0), weight.dim(1), nullptr};
  if (weight_scale_inv.defined()) w.block_scale = weight_scale_inv.f32();
  return w;
}

Tensor linear_forward(const Context& context, const LinearWeight& w, const Tensor& x) {
  const kernels::WeightMatrix matrix = w.matrix();
  const std::int64_t tokens = token_count(x);
  require(x.size() == tokens * matrix.in, "an input of shape {} for a weight of shape {}",
          shape_text(x.shape()), shape_text(w.weight.shape()));
  Tensor y = Tensor::empty({tokens, matrix.out});
  kernels::linear_forward(context.pool, x.f32(), tokens, matrix, y.f32());
  if (w.bias.defined()) {
    const float* bias = w.bias.f32();
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < matrix.out; ++i) y.f32()[t * matrix.out + i] += bias[i];
  }
  return y;
}

Tensor linear_backward_input(const Context& context, const LinearWeight& w, const Tensor& dy) {
  const kernels::WeightMatrix matrix = w.matrix();
  const std::int64_t tokens = token_count(dy);
  Tensor dx = Tensor::empty({tokens, matrix.in});
  kernels::linear_backward_input(context.pool, dy.f32(), tokens, matrix, dx.f32(), false);
  return dx;
}

void add_linear_backward_input(const Context& context, const LinearWeight& w, const Tensor& dy, Tensor& dx) {
  const kernels::WeightMatrix matrix = w.matrix();
  const std::int64_t tokens = token_count(dy);
  require(dx.size() == tokens * matrix.in, "a gradient of shape {} for {} tokens and a weight of shape {}",
          shape_text(dx.shape()), tokens, shape_text(w.weight.shape()));
  kernels::linear_backward_input(context.pool, dy.f32(), tokens, matrix, dx.f32(), true);
}

void linear_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, LinearWeight& grad) {
  const std::int64_t tokens = token_count(x);
  const std::int64_t out = grad.weight.dim(0);
  kernels::linear_backward_weight(context.pool, dy.f32(), x.f32(), tokens, out, grad.weight.dim(1),
                                  grad.weight.f32());
  if (!grad.bias.defined()) return;
  float* bias = grad.bias.f32();
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t i = 0; i < out; ++i) bias[i] += dy.f32()[t * out + i];
}

}  // namespace fathom
