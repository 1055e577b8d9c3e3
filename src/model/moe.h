#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/expert_groups.h"
#include "model/expert_peers.h"
#include "model/kept.h"
#include "model/mlp.h"
#include "model/routed_experts.h"
#include "model/router.h"
#include "model/sequences.h"
#include "model/streamed_experts.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// DeepSeekMoE: shared experts plus the routed experts of each token (technical report, equation 12). Tokens
/// are grouped by expert, each group is one batch of GEMMs, and results are gathered back in the order of
/// each token's choices, so the sum does not depend on threads. No token is dropped.
///
/// Where the experts are spread over several ranks (`Context::expert_peers`), tokens travel to them and back,
/// while this rank computes its shared experts.
///
/// Kept from forward to backward, in values per token, with k = num_experts_per_tok, I =
/// moe_intermediate_size, S = n_shared_experts, N = n_routed_experts: 2·k·I + 2·S·I + N + 5·k; the caller
/// gives x again. From backward_input to backward_weight: 3·k·I + 3·S·I + N more (dy is the caller's
/// own and must stay as it is). Nothing of size k·hidden outlives a call: grouped inputs are gathered again.
/// With peers, the tokens that arrived are kept, too, and between the two halves of backward their gradients.
class Moe {
 public:
  struct Saved {
    Router::Saved router;
    Mlp::Saved shared;
    ExpertGroups groups;  // of the tokens that the experts here work on
    RoutedExperts::Saved experts;
    std::shared_ptr<ExpertRoute> route;  // with peers
    Kept arrived;                        // with peers: [tokens that came, hidden]
  };
  struct Deltas {
    Router::Deltas router;
    Mlp::Deltas shared;
    Kept dy;  // [tokens that the experts here work on, hidden]; without peers and FP8 shared with the caller
    RoutedExperts::Deltas experts;
  };

  /// Keeps references: config and weights must outlive the layer.
  /// @param layer  of the model, as peers know it
  Moe(const ModelConfig& config, const MoeWeights& weights, std::int64_t layer = 0);

  /// `saved` null: nothing is kept, and the weights may be of any type that kernels/linear.h reads.
  /// @param load  where given, [n_routed_experts] counts of this call are added to it
  /// @param meanwhile  if wanted: called once, when what experts are read from disk is being read
  Tensor forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved,
                 std::vector<std::int64_t>* load = nullptr,
                 const std::function<void()>& meanwhile = {}) const;
  /// Whether `expect` is of use.
  [[nodiscard]] bool wants_guesses(const Context& context) const;
  /// `x` is about what `forward` will be given next: experts that are read from disk are read ahead.
  void expect(const Context& context, const Tensor& x) const;
  /// dx for dy [tokens, hidden], through shared experts, routed experts, gates and `balance_alpha` times the
  /// sequence-wise balance loss; fills `deltas`. The weights are f32.
  /// @param meanwhile  if wanted: called once, when `deltas` has what gradients of the experts' weights are
  /// made
  ///                   of, and while other ranks' tokens' gradients travel
  Tensor backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                        double balance_alpha, const Saved& saved, Deltas& deltas,
                        const std::function<void()>& meanwhile = {}) const;
  /// grads += the gradients of router, routed and shared experts; an expert without tokens is left alone.
  /// @param x  that of `forward`
  void backward_weight(const Context& context, const Tensor& x, const Saved& saved, const Deltas& deltas,
                       MoeWeights& grads) const;
  /// The first part of it, which is ready before `backward_input` ends: `meanwhile` may call it.
  void backward_expert_weights(const Context& context, const Tensor& x, const Saved& saved,
                               const Deltas& deltas, MoeWeights& grads) const;
  /// The second.
  void backward_router_weight(const Context& context, const Tensor& x, const Deltas& deltas,
                              MoeWeights& grads) const {
    router_.backward_weight(context, x, deltas.router, grads);
  }

 private:
  [[nodiscard]] bool has_shared_experts() const { return config_.n_shared_experts > 0; }
  /// Zeros where there are none.
  Tensor shared_forward(const Context& context, const Tensor& x, Saved* saved) const;
  /// Outputs of the experts that are here, [rows, hidden] in grouped order.
  Tensor through_experts(const Context& context, const Kept& input, const ExpertGroups& groups, Saved* saved,
                         StreamedExperts::Reading* reading) const;
  /// Begins to read experts where they are streamed.
  std::optional<StreamedExperts::Reading> read_experts(const Context& context, const ExpertGroups& groups,
                                                       const Saved* saved) const;
  Tensor forward_with_peers(const Context& context, const Tensor& x, const Routing& routing,
                            Saved* saved) const;

  const ModelConfig& config_;
  const MoeWeights& weights_;
  std::int64_t layer_;
  Router router_;
  Mlp shared_;
  RoutedExperts experts_;
};

}  // namespace fathom
