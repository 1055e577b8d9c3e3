#pragma once

#include "model/context.h"
#include "tensor/tensor.h"

namespace fathom {

// RMSNorm of the first `dim` values of each row of x [tokens, width], where `dim` is the weight's size.

/// [tokens, dim].
Tensor norm_forward(const Context& context, double eps, const Tensor& weight, const Tensor& x);

/// dx += the gradient at the norm's input, given dy [tokens, dim] at its output; dx is as wide as x.
void norm_backward_input(const Context& context, double eps, const Tensor& weight, const Tensor& x,
                         const Tensor& dy, Tensor& dx);

/// grad += the gradient of the norm's weight.
void norm_backward_weight(const Context& context, double eps, const Tensor& x, const Tensor& dy,
                          Tensor& grad);

}  // namespace fathom
