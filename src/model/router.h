#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Which experts each token goes to, and with what weight.
struct Routing {
  std::int64_t tokens = 0;
  std::int64_t top_k = 0;
  std::vector<std::int32_t> experts;  // [tokens, top_k], distinct within a token
  std::vector<float> gates;           // [tokens, top_k], normalised and scaled as the config says
  std::vector<std::int64_t> load;     // [n_routed_experts] tokens that chose each expert
};

/// The router of DeepSeekMoE (technical report, section 2.1.2; DeepSeek-V2, section 2.2): sigmoid or softmax
/// affinities, node-limited selection, the balancing bias that selects but does not weigh.
class Router {
 public:
  struct Saved {
    Tensor x;         // [tokens, hidden]
    Tensor affinity;  // [tokens, n_routed_experts], s
    Routing routing;
    double balance_loss = 0;  // the sequence-wise loss, before its factor alpha
  };
  struct Deltas {
    Tensor logits;  // [tokens, n_routed_experts]
  };

  Router(const ModelConfig& config, const MoeWeights& weights);

  Routing forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved) const;
  /// dx from the gates' gradients [tokens, top_k] and the sequence-wise balance loss times `balance_alpha`
  /// (technical report, equations 17 to 20; averaged over sequences). Selection itself has no gradient.
  Tensor backward_input(const Context& context, const Tensor& dgates, const Sequences& sequences,
                        double balance_alpha, const Saved& saved, Deltas& deltas) const;
  void backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                       MoeWeights& grads) const;

 private:
  const ModelConfig& config_;
  const MoeWeights& weights_;
};

}  // namespace fathom
