#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/mlp.h"
#include "model/router.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// DeepSeekMoE: shared experts plus the routed experts of each token (technical report, equation 12). Tokens
/// are grouped by expert, each group is one batch of GEMMs, and results are gathered back in a fixed order,
/// so the sum does not depend on threads. No token is dropped.
class Moe {
 public:
  struct Saved {
    Router::Saved router;
    Mlp::Saved shared;
    std::vector<std::int64_t>
        offsets;  // [n_routed_experts + 1], where each expert's rows begin in the grouped order
    std::vector<std::int32_t> source;  // [tokens * top_k], grouped row -> slot (token * top_k + j)
    Tensor grouped_x;                  // [tokens * top_k, hidden]
    Tensor gate;                       // [tokens * top_k, moe_intermediate]
    Tensor up;                         // [tokens * top_k, moe_intermediate]
    Tensor expert_out;  // [tokens * top_k, hidden], before the gate: the gates' gradient needs it
  };
  struct Deltas {
    Router::Deltas router;
    Mlp::Deltas shared;
    Tensor down;     // [tokens * top_k, hidden], gradient at the experts' outputs
    Tensor gate;     // [tokens * top_k, moe_intermediate]
    Tensor up;       // [tokens * top_k, moe_intermediate]
    Tensor product;  // [tokens * top_k, moe_intermediate]
  };

  Moe(const ModelConfig& config, const MoeWeights& weights);

  /// @param load  where given, [n_routed_experts] counts of this call are added to it
  Tensor forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved,
                 std::vector<std::int64_t>* load = nullptr) const;
  Tensor backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                        double balance_alpha, const Saved& saved, Deltas& deltas) const;
  void backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                       MoeWeights& grads) const;

 private:
  const ModelConfig& config_;
  const MoeWeights& weights_;
  Router router_;
};

}  // namespace fathom
