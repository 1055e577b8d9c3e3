#include "model/router.h"

#include <cstddef>

#include "base/error.h"
#include "kernels/gating.h"
#include "model/balance.h"
#include "model/sequence_peers.h"

namespace fathom {
namespace {

constexpr std::size_t kTokensPerItem = 64;
/// Added to the sum of the chosen affinities before dividing by it, as the reference does.
constexpr float kNormalisationEpsilon = 1e-20F;

kernels::ExpertSelection selection_rule(const ModelConfig& config) {
  kernels::ExpertSelection rule{.experts = config.n_routed_experts, .top_k = config.num_experts_per_tok};
  if (config.topk_method != TopkMethod::greedy) {
    rule.groups = config.n_group;
    rule.top_groups = config.topk_group;
  }
  if (config.topk_method == TopkMethod::group_limited_greedy) rule.group_score = kernels::GroupScore::maximum;
  return rule;
}

/// s = sigmoid or softmax of the logits, in place.
void make_affinities(ScoringFunc function, float* logits, std::int64_t tokens, std::int64_t experts) {
  if (function == ScoringFunc::sigmoid) {
    kernels::sigmoid(logits, tokens * experts);
  } else {
    kernels::softmax(logits, tokens, experts);
  }
}

/// d(logits) from d(affinity), in place.
void affinities_backward(ScoringFunc function, const float* affinity, float* gradient, std::int64_t tokens,
                         std::int64_t experts) {
  if (function == ScoringFunc::sigmoid) {
    kernels::sigmoid_backward(affinity, gradient, tokens * experts, gradient);
  } else {
    kernels::softmax_backward(affinity, gradient, tokens, experts, gradient);
  }
}

float chosen_sum(const float* affinity, const std::int32_t* experts, std::int64_t top_k) {
  float sum = 0.0F;
  for (std::int64_t j = 0; j < top_k; ++j) sum += affinity[experts[j]];
  return sum + kNormalisationEpsilon;
}

}  // namespace

Router::Router(const ModelConfig& config, const MoeWeights& weights) : config_(config), weights_(weights) {}

bool Router::normalises() const {
  return config_.norm_topk_prob && config_.topk_method == TopkMethod::noaux_tc;
}

kernels::WeightMatrix Router::centroids() const {
  const Tensor& router = weights_.router;
  return {router.data(), router.dtype(), router.dim(0), router.dim(1), nullptr};
}

Routing Router::forward(const Context& context, const Tensor& x, const Sequences& sequences,
                        Saved* saved) const {
  const kernels::ExpertSelection rule = selection_rule(config_);
  kernels::check_expert_selection(rule);
  const std::int64_t tokens = x.dim(0);
  const std::int64_t experts = rule.experts;
  const std::int64_t top_k = rule.top_k;
  if (weights_.router.shape() != Shape{experts, x.dim(1)})
    fail("a router of shape {} for {} experts and inputs {}", shape_text(weights_.router.shape()), experts,
         shape_text(x.shape()));

  Tensor affinity = Tensor::empty({tokens, experts});
  kernels::linear_forward(context.pool, x.f32(), tokens, centroids(), affinity.f32());

  Routing routing{tokens, top_k, {}, {}, std::vector<std::int64_t>(static_cast<std::size_t>(experts), 0)};
  routing.experts.resize(static_cast<std::size_t>(tokens * top_k));
  routing.gates.resize(routing.experts.size());
  const float* bias = nullptr;
  if (config_.topk_method == TopkMethod::noaux_tc) {
    require(weights_.e_score_correction_bias.size() == experts, "a router bias of {} values for {} experts",
            weights_.e_score_correction_bias.size(), experts);
    bias = weights_.e_score_correction_bias.f32();
  }
  const auto factor = static_cast<float>(config_.routed_scaling_factor);

  context.pool.parallel_ranges(
      static_cast<std::size_t>(tokens), kTokensPerItem, [&](std::size_t begin, std::size_t end) {
        const auto count = static_cast<std::int64_t>(end - begin);
        float* s = affinity.f32() + static_cast<std::int64_t>(begin) * experts;
        std::int32_t* chosen = routing.experts.data() + static_cast<std::int64_t>(begin) * top_k;
        float* gates = routing.gates.data() + static_cast<std::int64_t>(begin) * top_k;
        make_affinities(config_.scoring_func, s, count, experts);
        if (bias == nullptr) {
          kernels::select_experts(rule, s, count, chosen);
        } else {
          std::vector<float> biased(static_cast<std::size_t>(count * experts));
          for (std::int64_t i = 0; i < count * experts; ++i)
            biased[static_cast<std::size_t>(i)] = s[i] + bias[i % experts];
          kernels::select_experts(rule, biased.data(), count, chosen);
        }
        for (std::int64_t t = 0; t < count; ++t, s += experts, chosen += top_k, gates += top_k) {
          const float divisor = normalises() ? chosen_sum(s, chosen, top_k) : 1.0F;
          for (std::int64_t j = 0; j < top_k; ++j) gates[j] = s[chosen[j]] / divisor * factor;
        }
      });
  for (const std::int32_t expert : routing.experts) ++routing.load[static_cast<std::size_t>(expert)];

  if (saved != nullptr) {
    if (config_.has_sequence_wise_loss()) {
      saved->balance_loss =
          sequence_balance_loss(context, affinity, sequences, top_k, saved->balance_frequency);
    } else {
      std::vector<std::int64_t> load = routing.load;
      if (sequences.are_shared()) context.sequence_peers->sum(load);
      saved->balance_loss = batch_balance_loss(affinity, load, top_k, normalises(), saved->balance_frequency);
    }
    saved->affinity = affinity;
    saved->routing = routing;
  }
  return routing;
}

Tensor Router::backward_input(const Context& context, const Tensor& dgates, const Sequences& sequences,
                              double balance_alpha, const Saved& saved, Deltas& deltas) const {
  const Routing& routing = saved.routing;
  const std::int64_t tokens = routing.tokens;
  const std::int64_t top_k = routing.top_k;
  const std::int64_t experts = config_.n_routed_experts;
  const auto factor = static_cast<float>(config_.routed_scaling_factor);

  Tensor dlogits = Tensor::zeros({tokens, experts});  // holds d(affinity) first
  context.pool.parallel_ranges(
      static_cast<std::size_t>(tokens), kTokensPerItem, [&](std::size_t begin, std::size_t end) {
        for (auto t = static_cast<std::int64_t>(begin); t < static_cast<std::int64_t>(end); ++t) {
          const float* s = saved.affinity.f32() + t * experts;
          const std::int32_t* chosen = routing.experts.data() + t * top_k;
          const float* dgate = dgates.f32() + t * top_k;
          float* ds = dlogits.f32() + t * experts;
          // gate_j = factor · s_j / divisor, where the divisor holds every chosen s or is 1.
          float divisor = 1.0F;
          float shared = 0.0F;
          if (normalises()) {
            divisor = chosen_sum(s, chosen, top_k);
            for (std::int64_t j = 0; j < top_k; ++j) shared += dgate[j] * s[chosen[j]] / divisor;
          }
          for (std::int64_t j = 0; j < top_k; ++j) ds[chosen[j]] = factor * (dgate[j] - shared) / divisor;
        }
      });
  if (balance_alpha != 0.0 && config_.has_sequence_wise_loss())
    add_sequence_balance_gradient(context, saved.affinity, sequences, saved.balance_frequency, balance_alpha,
                                  dlogits);
  else if (balance_alpha != 0.0 && tokens > 0)
    add_batch_balance_gradient(
        context, saved.affinity, saved.balance_frequency, normalises(),
        balance_alpha * static_cast<double>(tokens) / static_cast<double>(sequences.whole_tokens()), dlogits);
  context.pool.parallel_ranges(
      static_cast<std::size_t>(tokens), kTokensPerItem, [&](std::size_t begin, std::size_t end) {
        const std::int64_t offset = static_cast<std::int64_t>(begin) * experts;
        affinities_backward(config_.scoring_func, saved.affinity.f32() + offset, dlogits.f32() + offset,
                            static_cast<std::int64_t>(end - begin), experts);
      });
  deltas.logits = dlogits;
  Tensor dx = Tensor::empty({tokens, weights_.router.dim(1)});
  kernels::linear_backward_input(context.pool, dlogits.f32(), tokens, centroids(), dx.f32(), false);
  return dx;
}

void Router::backward_weight(const Context& context, const Tensor& x, const Deltas& deltas,
                             MoeWeights& grads) const {
  kernels::linear_backward_weight(context.pool, deltas.logits.f32(), x.f32(), x.dim(0),
                                  config_.n_routed_experts, x.dim(1), grads.router.f32());
}

}  // namespace fathom
