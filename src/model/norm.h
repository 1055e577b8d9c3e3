#pragma once

#include "model/config.h"
#include "model/context.h"
#include "tensor/tensor.h"

namespace fathom {

// RMSNorm over the last dimension of [tokens, dim] with the model's epsilon.

Tensor norm_forward(const Context& context, const ModelConfig& config, const Tensor& weight, const Tensor& x);

/// dx += the gradient at the norm's input, given dy at its output.
void norm_backward_input(const Context& context, const ModelConfig& config, const Tensor& weight,
                         const Tensor& x, const Tensor& dy, Tensor& dx);

/// grad += the gradient of the norm's weight.
void norm_backward_weight(const Context& context, const ModelConfig& config, const Tensor& x,
                          const Tensor& dy, Tensor& grad);

}  // namespace fathom
