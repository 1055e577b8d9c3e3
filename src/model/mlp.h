#pragma once

#include "model/context.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// A SwiGLU feed-forward network: down(silu(gate(x)) * up(x)).
class Mlp {
 public:
  struct Saved {
    Tensor x;     // [tokens, hidden]
    Tensor gate;  // [tokens, intermediate]
    Tensor up;    // [tokens, intermediate]
  };
  struct Deltas {
    Tensor down;     // [tokens, hidden]
    Tensor gate;     // [tokens, intermediate]
    Tensor up;       // [tokens, intermediate]
    Tensor product;  // [tokens, intermediate], silu(gate) * up again: input of down_proj
  };

  explicit Mlp(const MlpWeights& weights);

  Tensor forward(const Context& context, const Tensor& x, Saved* saved) const;
  Tensor backward_input(const Context& context, const Tensor& dy, const Saved& saved, Deltas& deltas) const;
  void backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                       MlpWeights& grads) const;

 private:
  const MlpWeights& weights_;
};

}  // namespace fathom
