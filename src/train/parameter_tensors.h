#pragma once

#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Where each parameter lies, by `ParameterSpec::index`; undefined where it is not kept. They share storage.
inline std::vector<Tensor> parameter_tensors(const ModelConfig& config, TransformerWeights& weights) {
  std::vector<Tensor> list;
  visit_parameters(config, weights,
                   [&](const ParameterSpec&, Tensor& value, Tensor*) { list.push_back(value); });
  return list;
}

}  // namespace fathom
