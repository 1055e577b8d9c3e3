#include "model/mlp.h"

#include "kernels/quant_mlp.h"
#include "kernels/swiglu.h"
#include "model/linear.h"

namespace fathom {

Mlp::Mlp(const MlpWeights& weights) : weights_(weights) {}

Tensor Mlp::forward(const Context& context, const Tensor& x, Saved* saved) const {
  const kernels::WeightMatrix down = weights_.down_proj.matrix();
  if (saved == nullptr && !weights_.has_adapter() &&
      kernels::is_quant_mlp(weights_.gate_proj.matrix(), weights_.up_proj.matrix(), down)) {
    Tensor y = Tensor::empty({x.dim(0), down.out});
    const kernels::QuantMlp mlp{
        weights_.gate_proj.matrix(), weights_.up_proj.matrix(), down, nullptr, x.dim(0), y.f32()};
    kernels::quant_mlps(context.pool, {&mlp, 1},
                        kernels::quantize_rows(context.pool, x.f32(), x.dim(0), x.dim(1), x.dim(1)));
    return y;
  }
  const Kept input = linear_input(context, x);
  Tensor gate = linear_forward(context, weights_.gate_proj, input);
  Tensor up = linear_forward(context, weights_.up_proj, input);
  Tensor product = saved != nullptr ? Tensor::empty(gate.shape()) : gate;
  kernels::swiglu_forward(context.pool, gate.f32(), up.f32(), gate.size(), product.f32());
  Tensor y = linear_forward(context, weights_.down_proj, product);
  const RowFormat format = swiglu_format(context.precision);
  if (saved != nullptr) *saved = {{context, gate, format}, {context, up, format}};
  return y;
}

Tensor Mlp::backward_input(const Context& context, const Tensor& dy, const Saved& saved,
                           Deltas& deltas) const {
  Tensor product = linear_backward_input(context, weights_.down_proj, dy);  // holds d(product) first
  const Tensor gate = saved.gate.f32(context);
  const Tensor up = saved.up.f32(context);
  Tensor dgate = Tensor::empty(gate.shape());
  Tensor dup = Tensor::empty(up.shape());
  kernels::swiglu_backward(context.pool, product.f32(), gate.f32(), up.f32(), dgate.size(), dgate.f32(),
                           dup.f32(), product.f32());
  Tensor dx = linear_backward_input(context, weights_.gate_proj, dgate);
  linear_backward_input(context, weights_.up_proj, dup, dx, /*accumulate=*/true);
  deltas = {dy, dgate, dup, product};
  return dx;
}

void Mlp::backward_weight(const Context& context, const Tensor& x, const Deltas& deltas,
                          MlpWeights& grads) const {
  linear_backward_weights(context, {{deltas.gate, grads.gate_proj}, {deltas.up, grads.up_proj}},
                          linear_input(context, x));
  linear_backward_weight(context, deltas.down, deltas.product, grads.down_proj);
}

}  // namespace fathom
