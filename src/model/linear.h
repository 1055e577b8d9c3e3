#pragma once

#include "model/context.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

// A linear map's three products. Training precision recipes plug in here.

/// y[tokens, out] = x[tokens, in] · Wᵀ (+ bias).
Tensor linear_forward(const Context& context, const LinearWeight& w, const Tensor& x);

/// dx[tokens, in] = dy[tokens, out] · W. The weight is f32.
Tensor linear_backward_input(const Context& context, const LinearWeight& w, const Tensor& dy);

/// The same, added to `dx`.
void add_linear_backward_input(const Context& context, const LinearWeight& w, const Tensor& dy, Tensor& dx);

/// grad.weight += dyᵀ · x, grad.bias += column sums of dy.
void linear_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, LinearWeight& grad);

}  // namespace fathom
