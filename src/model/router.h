#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Which experts each token goes to, and with what weight. A slot is one (token, choice) pair: slot
/// token * top_k + j.
struct Routing {
  std::int64_t tokens = 0;
  std::int64_t top_k = 0;
  std::vector<std::int32_t> experts;  // [tokens, top_k], distinct within a token, best first
  std::vector<float> gates;           // [tokens, top_k], normalised and scaled as the config says
  std::vector<std::int64_t> load;     // [n_routed_experts] tokens that chose each expert
};

/// The router of DeepSeekMoE (technical report, equations 13 to 16; DeepSeek-V2, section 2.2): sigmoid or
/// softmax affinities, node-limited selection, the balancing bias that selects but does not weigh.
///
///     method                  selects by   group score         gates
///     noaux_tc                s + b        two highest of s+b  s [/ (sum of chosen s + 1e-20)] · factor
///     greedy                  s            no groups           s · factor
///     group_limited_greedy    s            highest s           s · factor
///
/// The division is done where `norm_topk_prob`; the V2 methods never divide, whatever it says, as
/// `transformers` has it (no released V2 model sets it). All of it is f32. Ties go to the lower index; see
/// kernels/gating.h for NaN.
class Router {
 public:
  struct Saved {
    Tensor affinity;  // [tokens, n_routed_experts], s
    Routing routing;
    double balance_loss = 0;   // of sequences or of the batch (model/balance.h), before its factor alpha
    Tensor balance_frequency;  // [sequences or 1, n_routed_experts], its f_i
  };
  struct Deltas {
    Tensor logits;  // [tokens, n_routed_experts]
  };

  /// Keeps references: config and weights must outlive the layer.
  Router(const ModelConfig& config, const MoeWeights& weights);

  Routing forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved) const;
  /// dx from the gates' gradients [tokens, top_k] and the balance loss times `balance_alpha`: the
  /// sequence-wise one (technical report, equations 17 to 20; averaged over sequences), or the classical one
  /// of the whole batch where the config's `seq_aux` is false. Selection itself has no gradient.
  Tensor backward_input(const Context& context, const Tensor& dgates, const Sequences& sequences,
                        double balance_alpha, const Saved& saved, Deltas& deltas) const;
  /// grads.router += the gradient of the centroids. The bias has none: model/balance.h moves it.
  /// @param x  that of `forward`
  void backward_weight(const Context& context, const Tensor& x, const Deltas& deltas,
                       MoeWeights& grads) const;

 private:
  [[nodiscard]] bool normalises() const;
  [[nodiscard]] kernels::WeightMatrix centroids() const;

  const ModelConfig& config_;
  const MoeWeights& weights_;
};

}  // namespace fathom
