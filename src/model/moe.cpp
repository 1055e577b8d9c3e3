#include "model/moe.h"

#include <span>

#include "kernels/vector_ops.h"
#include "model/linear.h"

namespace fathom {

Moe::Moe(const ModelConfig& config, const MoeWeights& weights, std::int64_t layer)
    : config_(config),
      weights_(weights),
      layer_(layer),
      router_(config, weights),
      shared_(weights.shared_experts),
      experts_(config, weights) {}

Tensor Moe::shared_forward(const Context& context, const Tensor& x, Saved* saved) const {
  if (!has_shared_experts()) return Tensor::zeros(x.shape());
  return shared_.forward(context, x, saved != nullptr ? &saved->shared : nullptr);
}

Tensor Moe::forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved,
                    std::vector<std::int64_t>* load, const std::function<void()>& meanwhile) const {
  experts_.check(context, layer_);
  const Routing routing = router_.forward(context, x, sequences, saved != nullptr ? &saved->router : nullptr);
  if (load != nullptr) {
    load->resize(routing.load.size(), 0);
    for (std::size_t e = 0; e < routing.load.size(); ++e) (*load)[e] += routing.load[e];
  }
  if (context.expert_peers != nullptr) return forward_with_peers(context, x, routing, saved);

  const ExpertGroups groups = group_by_expert(routing);
  std::optional<StreamedExperts::Reading> reading = read_experts(context, groups, saved);
  if (meanwhile) meanwhile();
  if (saved == nullptr && !reading && context.precision == Precision::f32 && has_shared_experts()) {
    Tensor y = Tensor::empty(x.shape());
    if (const auto out = experts_.infer_with_shared(context, x, groups, weights_.shared_experts, y)) {
      add_rows_back(context, groups, *out, routing.gates, y);
      return y;
    }
  }
  Tensor y = shared_forward(context, x, saved);
  const Tensor out = through_experts(context, linear_input(context, x, kDispatchFormat), groups, saved,
                                     reading ? &*reading : nullptr);
  add_rows_back(context, groups, out, routing.gates, y);
  if (saved != nullptr) saved->groups = groups;
  return y;
}

bool Moe::wants_guesses(const Context& context) const {
  // Experts of peers' tokens are not known here.
  return weights_.streamed != nullptr && weights_.streamed->wants_guesses() &&
         context.expert_peers == nullptr;
}

void Moe::expect(const Context& context, const Tensor& x) const {
  weights_.streamed->expect(router_.forward(context, x, Sequences::uniform(1, x.dim(0)), nullptr));
}

std::optional<StreamedExperts::Reading> Moe::read_experts(const Context& context, const ExpertGroups& groups,
                                                          const Saved* saved) const {
  if (saved != nullptr || context.precision != Precision::f32) return std::nullopt;
  return experts_.read(groups);
}

Tensor Moe::through_experts(const Context& context, const Kept& input, const ExpertGroups& groups,
                            Saved* saved, StreamedExperts::Reading* reading) const {
  if (saved == nullptr && context.precision == Precision::f32)
    return experts_.infer(context, input.f32(context), groups, reading);
  return experts_.forward(context, input, groups, saved != nullptr ? &saved->experts : nullptr);
}

Tensor Moe::forward_with_peers(const Context& context, const Tensor& x, const Routing& routing,
                               Saved* saved) const {
  const std::shared_ptr<ExpertRoute> route = context.expert_peers->route(layer_, routing);
  const Kept input = linear_input(context, x, kDispatchFormat);
  const ExpertRoute::Arriving arriving = route->dispatch(input, Direction::forward);
  Tensor y = shared_forward(context, x, saved);
  const Kept rows = arriving();
  const ExpertChoices& arrived = route->arrived();
  const ExpertGroups groups = group_by_expert(arrived, config_.n_routed_experts);
  std::optional<StreamedExperts::Reading> reading = read_experts(context, groups, saved);
  const Tensor out = through_experts(context, rows, groups, saved, reading ? &*reading : nullptr);
  Tensor sums = Tensor::zeros({groups.tokens(), config_.hidden_size});
  add_rows_back(context, groups, out, arrived.gates, sums);
  route->combine(context, sums, Direction::forward)(y);
  if (saved != nullptr) {
    saved->groups = groups;
    saved->route = route;
    saved->arrived = rows;
  }
  return y;
}

Tensor Moe::backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                           double balance_alpha, const Saved& saved, Deltas& deltas,
                           const std::function<void()>& meanwhile) const {
  const Routing& routing = saved.router.routing;
  ExpertRoute* peers = saved.route.get();
  deltas.dy = gradient_operand(context, dy, kDispatchFormat);
  Tensor dshared;
  const auto through_shared_experts = [&] {
    if (has_shared_experts()) dshared = shared_.backward_input(context, dy, saved.shared, deltas.shared);
  };
  const auto through_experts = [&](std::span<const float> gates) {
    return experts_.backward_input(context, deltas.dy, saved.groups, gates, saved.experts, deltas.experts);
  };
  const auto through_router = [&](const Tensor& dgates) {
    return router_.backward_input(context, dgates.reshape({routing.tokens, routing.top_k}), sequences,
                                  balance_alpha, saved.router, deltas.router);
  };
  Tensor dx;
  const auto add_shared = [&] {
    if (dshared.defined()) kernels::add(context.pool, dx.f32(), dshared.f32(), dx.size(), dx.f32());
  };
  if (peers == nullptr) {
    const RoutedExperts::InputGradients gradients = through_experts(routing.gates);
    dx = through_router(gradients.gates);
    through_shared_experts();
    add_shared();
    add_rows_back(context, saved.groups, gradients.rows, {}, dx);
    if (meanwhile) meanwhile();
    return dx;
  }

  const ExpertRoute::Arriving arriving = peers->dispatch(deltas.dy, Direction::backward);
  through_shared_experts();
  deltas.dy = arriving();
  const RoutedExperts::InputGradients gradients = through_experts(peers->arrived().gates);
  // The few values go before the many, behind which they would wait.
  const ExpertRoute::Returning returning =
      peers->return_to_slots(gradients.gates.values(), Direction::backward);
  Tensor sums = Tensor::zeros({saved.groups.tokens(), config_.hidden_size});
  add_rows_back(context, saved.groups, gradients.rows, {}, sums);
  const ExpertRoute::Combining combining = peers->combine(context, sums, Direction::backward);
  if (meanwhile) meanwhile();
  dx = through_router(returning());
  add_shared();
  combining(dx);
  return dx;
}

void Moe::backward_weight(const Context& context, const Tensor& x, const Saved& saved, const Deltas& deltas,
                          MoeWeights& grads) const {
  backward_expert_weights(context, x, saved, deltas, grads);
  backward_router_weight(context, x, deltas, grads);
}

void Moe::backward_expert_weights(const Context& context, const Tensor& x, const Saved& saved,
                                  const Deltas& deltas, MoeWeights& grads) const {
  const Kept input = saved.route ? saved.arrived : linear_input(context, x, kDispatchFormat);
  experts_.backward_weight(context, input, deltas.dy, saved.groups, deltas.experts, grads);
  if (has_shared_experts()) shared_.backward_weight(context, x, deltas.shared, grads.shared_experts);
}

}  // namespace fathom
