#pragma once

#include "model/context.h"
#include "model/kept.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// A SwiGLU feed-forward network: down(silu(gate(x)) * up(x)).
///
/// Kept from forward to backward, in values per token: 2 · intermediate; the caller gives x again. From
/// backward_input to backward_weight: 3 · intermediate more (dy is the caller's own and must stay as it is).
class Mlp {
 public:
  struct Saved {
    Kept gate;  // [tokens, intermediate]
    Kept up;    // [tokens, intermediate]
  };
  struct Deltas {
    Tensor down;     // [tokens, hidden], dy itself, shared with the caller
    Tensor gate;     // [tokens, intermediate]
    Tensor up;       // [tokens, intermediate]
    Tensor product;  // [tokens, intermediate], silu(gate) * up again: input of down_proj
  };

  /// Keeps a reference: the weights must outlive the layer.
  explicit Mlp(const MlpWeights& weights);

  /// `saved` null: nothing is kept. The weights may be of any type that kernels/linear.h reads.
  Tensor forward(const Context& context, const Tensor& x, Saved* saved) const;
  /// dx for dy [tokens, hidden]; fills `deltas`. The weights are f32.
  Tensor backward_input(const Context& context, const Tensor& dy, const Saved& saved, Deltas& deltas) const;
  /// grads += the gradients of the three matrices.
  /// @param x  that of `forward`
  void backward_weight(const Context& context, const Tensor& x, const Deltas& deltas,
                       MlpWeights& grads) const;

 private:
  const MlpWeights& weights_;
};

}  // namespace fathom
