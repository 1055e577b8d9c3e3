#include "model/block.h"

#include <utility>

#include "kernels/vector_ops.h"
#include "model/norm.h"

namespace fathom {
namespace {

/// a + b.
Tensor sum(const Context& context, const Tensor& a, const Tensor& b) {
  Tensor result = Tensor::empty(a.shape());
  kernels::add(context.pool, a.f32(), b.f32(), a.size(), result.f32());
  return result;
}

std::variant<Mlp, Moe> make_feed_forward(const ModelConfig& config, std::int64_t layer,
                                         const BlockWeights& weights) {
  if (config.is_moe_layer(layer)) return Moe(config, weights.moe, layer);
  return Mlp(weights.mlp);
}

}  // namespace

Block::Block(const ModelConfig& config, std::int64_t layer, const BlockWeights& weights,
             const RopeTable& rope)
    : config_(config),
      weights_(weights),
      mla_(config, weights.self_attn, rope),
      feed_forward_(make_feed_forward(config, layer, weights)) {}

Tensor Block::forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved,
                      std::vector<std::int64_t>* load) const {
  Kept kept;
  const Tensor input = keep_rounded(context, x, kept);
  const Tensor normed = norm_forward(context, config_.rms_norm_eps, weights_.input_layernorm, input);
  const Tensor attention = mla_.forward(context, normed, sequences, saved != nullptr ? &saved->mla : nullptr);
  if (saved != nullptr) saved->x = kept;
  return feed_forward(context, sum(context, input, attention), sequences, saved, load, nullptr);
}

Tensor Block::forward_cached(const Context& context, const Tensor& x,
                             const CachedTokens<LatentCacheLayer>& batch, std::vector<std::int64_t>* load,
                             const Block* next) const {
  const Tensor normed = norm_forward(context, config_.rms_norm_eps, weights_.input_layernorm, x);
  const Tensor middle = sum(context, x, mla_.forward_cached(context, normed, batch));
  return feed_forward(context, middle, batch.sequences, nullptr, load, next);
}

void Block::guess_experts(const Context& context, const Tensor& middle) const {
  const Moe* moe = std::get_if<Moe>(&feed_forward_);
  if (moe != nullptr && moe->wants_guesses(context))
    moe->expect(context,
                norm_forward(context, config_.rms_norm_eps, weights_.post_attention_layernorm, middle));
}

Tensor Block::feed_forward(const Context& context, const Tensor& sum_of_both, const Sequences& sequences,
                           Saved* saved, std::vector<std::int64_t>* load, const Block* next) const {
  Kept kept;
  const Tensor middle = keep_rounded(context, sum_of_both, kept);
  if (saved != nullptr) saved->middle = kept;
  const Tensor normed =
      norm_forward(context, config_.rms_norm_eps, weights_.post_attention_layernorm, middle);
  const auto guess = [&] {
    if (next != nullptr) next->guess_experts(context, middle);
  };
  if (const Moe* moe = std::get_if<Moe>(&feed_forward_))
    return sum(
        context, middle,
        moe->forward(context, normed, sequences, saved != nullptr ? &saved->moe : nullptr, load, guess));
  guess();
  return sum(context, middle,
             std::get<Mlp>(feed_forward_).forward(context, normed, saved != nullptr ? &saved->mlp : nullptr));
}

Tensor Block::input_gradient(const Context& context, const Tensor& dy, const Sequences& sequences,
                             double balance_alpha, const Saved& saved, Deltas& deltas,
                             const std::function<void()>& meanwhile) const {
  const Tensor middle = saved.middle.f32(context);
  deltas.feed_forward_input =
      norm_forward(context, config_.rms_norm_eps, weights_.post_attention_layernorm, middle);
  const Moe* moe = std::get_if<Moe>(&feed_forward_);
  deltas.post_norm =
      moe != nullptr
          ? moe->backward_input(context, dy, sequences, balance_alpha, saved.moe, deltas.moe, meanwhile)
          : std::get<Mlp>(feed_forward_).backward_input(context, dy, saved.mlp, deltas.mlp);
  Tensor dmiddle = dy.clone();
  norm_backward_input(context, config_.rms_norm_eps, weights_.post_attention_layernorm, middle,
                      deltas.post_norm, dmiddle);
  const Tensor x = saved.x.f32(context);
  deltas.input_norm =
      mla_.backward_input(context, norm_forward(context, config_.rms_norm_eps, weights_.input_layernorm, x),
                          dmiddle, sequences, saved.mla, deltas.mla);
  Tensor dx = dmiddle.clone();
  norm_backward_input(context, config_.rms_norm_eps, weights_.input_layernorm, x, deltas.input_norm, dx);
  return dx;
}

Tensor Block::backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                             double balance_alpha, const Saved& saved, Deltas& deltas) const {
  return input_gradient(context, dy, sequences, balance_alpha, saved, deltas, {});
}

Tensor Block::backward(const Context& context, const Tensor& dy, const Sequences& sequences,
                       double balance_alpha, const Saved& saved, Deltas& deltas, BlockWeights& grads) const {
  const Moe* moe = std::get_if<Moe>(&feed_forward_);
  const Tensor& x = deltas.feed_forward_input;
  Tensor dx = input_gradient(context, dy, sequences, balance_alpha, saved, deltas, [&] {
    moe->backward_expert_weights(context, x, saved.moe, deltas.moe, grads.moe);
  });
  attention_weights(context, saved, deltas, grads);
  if (moe != nullptr) {
    moe->backward_router_weight(context, x, deltas.moe, grads.moe);
  } else {
    std::get<Mlp>(feed_forward_).backward_weight(context, x, deltas.mlp, grads.mlp);
  }
  return dx;
}

void Block::attention_weights(const Context& context, const Saved& saved, const Deltas& deltas,
                              BlockWeights& grads) const {
  norm_backward_weight(context, config_.rms_norm_eps, saved.x.f32(context), deltas.input_norm,
                       grads.input_layernorm);
  mla_.backward_weight(context, saved.mla, deltas.mla, grads.self_attn);
  norm_backward_weight(context, config_.rms_norm_eps, saved.middle.f32(context), deltas.post_norm,
                       grads.post_attention_layernorm);
}

void Block::backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                            BlockWeights& grads) const {
  attention_weights(context, saved, deltas, grads);
  if (const Moe* moe = std::get_if<Moe>(&feed_forward_)) {
    moe->backward_weight(context, deltas.feed_forward_input, saved.moe, deltas.moe, grads.moe);
  } else {
    std::get<Mlp>(feed_forward_).backward_weight(context, deltas.feed_forward_input, deltas.mlp, grads.mlp);
  }
}

}  // namespace fathom
