#include "model/mla.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "base/error.h"
#include "kernels/attention.h"
#include "kernels/norm.h"
#include "kernels/vector_ops.h"
#include "model/linear.h"
#include "model/mla_views.h"
#include "model/norm.h"

namespace fathom {
namespace {

/// Of the input of o_proj, which is quantised twice on its way to the weight's gradient: powers of two add no
/// error of their own (technical report, section 3.3.3).
constexpr TileScaling kAttentionScaling = {ScaleFormat::power_of_two, kActivationScaling.least_amax};

/// The other ranks' latents, where sequences are shared out.
std::optional<LatentRing> ring_of(const Context& context, const Sequences& sequences, const Kept& kv_a,
                                  Direction direction) {
  if (!sequences.are_shared()) return std::nullopt;
  require(context.sequence_peers != nullptr, "a part of sequences without the ranks that have the rest");
  return LatentRing(*context.sequence_peers, sequences, kv_a, direction);
}

}  // namespace

Mla::Mla(const ModelConfig& config, const MlaWeights& weights, const RopeTable& rope)
    : config_(config), weights_(weights), rope_(rope), absorbed_kv_b_(config, weights.kv_b_proj) {}

void Mla::check_positions(std::int64_t end) const {
  require(end <= rope_.positions(), "a sequence of {} tokens, but positions were prepared for {}", end,
          rope_.positions());
}

Tensor Mla::query_latents(const Context& context, const Kept& x) const {
  return config_.q_lora_rank == 0 ? Tensor() : linear_forward(context, weights_.q_a_proj, x);
}

Tensor Mla::queries(const Context& context, const Kept& x, const Tensor& latent,
                    const std::vector<std::int64_t>& positions, Kept& normed) const {
  Tensor q;
  if (config_.q_lora_rank == 0) {
    q = linear_forward(context, weights_.q_proj, x);
  } else {
    normed = linear_input(context, norm_forward(context, kLatentNormEps, weights_.q_a_layernorm, latent));
    q = linear_forward(context, weights_.q_b_proj, normed);
  }
  return rotated_queries(context, q, positions);
}

Tensor Mla::rotated_queries(const Context& context, Tensor q,
                            const std::vector<std::int64_t>& positions) const {
  const std::int64_t heads = config_.num_attention_heads;
  const std::int64_t dim = config_.qk_head_dim();
  kernels::rope_rotate(context.pool, q.f32() + config_.qk_nope_head_dim, heads * dim, dim, q.dim(0), heads,
                       rope_.angles(), positions.data(), kernels::RopeDirection::forward);
  return q.reshape({q.dim(0), heads, dim});
}

Tensor Mla::keys_values(const Context& context, const Tensor& kv_a, Kept& normed) const {
  normed = linear_input(context, norm_forward(context, kLatentNormEps, weights_.kv_a_layernorm, kv_a));
  return linear_forward(context, weights_.kv_b_proj, normed)
      .reshape({kv_a.dim(0), config_.num_attention_heads, config_.qk_nope_head_dim + config_.v_head_dim});
}

Tensor Mla::latents(const Context& context, const Kept& x, const std::vector<std::int64_t>& positions) const {
  Tensor kv_a = linear_forward(context, weights_.kv_a_proj_with_mqa, x);
  rotate_keys(context, kv_a, positions);
  return kv_a;
}

void Mla::rotate_keys(const Context& context, Tensor& kv_a,
                      const std::vector<std::int64_t>& positions) const {
  kernels::rope_rotate(context.pool, kv_a.f32() + config_.kv_lora_rank, config_.latent_dim(), 0, kv_a.dim(0),
                       1, rope_.angles(), positions.data(), kernels::RopeDirection::forward);
}

Tensor Mla::forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved) const {
  const std::int64_t tokens = x.dim(0);
  const std::int64_t heads = config_.num_attention_heads;
  sequences.check(tokens);
  const std::vector<std::int64_t> positions = sequences.positions();
  if (!positions.empty()) check_positions(*std::max_element(positions.begin(), positions.end()) + 1);

  const Kept input = linear_input(context, x);
  Saved kept;
  Kept normed;
  Tensor q_latent = query_latents(context, input);
  if (q_latent.defined()) q_latent = keep_rounded(context, q_latent, kept.q_latent);
  const Tensor q = queries(context, input, q_latent, positions, normed);
  const Tensor kv_a = keep_rounded(context, latents(context, input, positions), kept.kv_a);
  std::optional<LatentRing> ring = ring_of(context, sequences, kept.kv_a, Direction::forward);
  Tensor attention = Tensor::empty({tokens, heads, config_.v_head_dim});
  if (saved != nullptr || ring) kept.log_sum_exp = Tensor::empty({tokens, heads});
  {
    const Tensor kv = keys_values(context, kv_a, normed);
    kernels::attention_forward(context.pool, attention_shape(config_), attention_inputs(config_, q, kv, kv_a),
                               own_spans(sequences), head_rows(attention, heads),
                               kept.log_sum_exp.defined() ? kept.log_sum_exp.f32() : nullptr);
  }
  if (ring) attend_to_others(context, q, *ring, attention, kept.log_sum_exp);
  if (saved != nullptr) {
    kept.attention = Kept(context, attention, attention_format(context.precision), kAttentionScaling);
    *saved = kept;
  }
  return linear_forward(context, weights_.o_proj, linear_input(context, attention, kAttentionScaling.format));
}

Tensor Mla::backward_input(const Context& context, const Tensor& x, const Tensor& dy,
                           const Sequences& sequences, const Saved& saved, Deltas& deltas) const {
  const std::int64_t tokens = dy.dim(0);
  const std::int64_t heads = config_.num_attention_heads;
  const std::int64_t latent = config_.kv_lora_rank;
  sequences.check(tokens);
  const std::vector<std::int64_t> positions = sequences.positions();

  deltas.o = dy;
  const Tensor dattention = linear_backward_input(context, weights_.o_proj, dy);
  deltas.x = linear_input(context, x);
  const Tensor kv_a = saved.kv_a.f32(context);
  Tensor dlatents;  // of this rank's latents, by the others
  const Tensor q_latent = saved.q_latent.defined() ? saved.q_latent.f32(context) : Tensor();
  {
    std::optional<LatentRing> ring = ring_of(context, sequences, saved.kv_a, Direction::backward);
    const Tensor q = queries(context, deltas.x, q_latent, positions, deltas.q_latent_norm);
    const Tensor attention = saved.attention.f32(context);
    {
      const Tensor kv = keys_values(context, kv_a, deltas.kv_latent_norm);
      deltas.q = Tensor::empty(q.shape());
      deltas.kv_b = Tensor::empty(kv.shape());
      deltas.kv_a = Tensor::empty(kv_a.shape());
      kernels::attention_backward(context.pool, attention_shape(config_),
                                  attention_inputs(config_, q, kv, kv_a), own_spans(sequences),
                                  head_rows(attention, heads), saved.log_sum_exp.f32(),
                                  head_rows(dattention, heads),
                                  {head_rows(deltas.q, heads),
                                   head_rows(deltas.kv_b, heads),
                                   {deltas.kv_a.f32() + latent, deltas.kv_a.dim(1), 0},
                                   head_rows(deltas.kv_b, heads, config_.qk_nope_head_dim)});
    }
    if (ring)
      dlatents = backward_of_others(context, q, sequences, {attention, saved.log_sum_exp, dattention}, *ring,
                                    deltas);
  }
  const std::int64_t dim = config_.qk_head_dim();
  kernels::rope_rotate(context.pool, deltas.q.f32() + config_.qk_nope_head_dim, heads * dim, dim, tokens,
                       heads, rope_.angles(), positions.data(), kernels::RopeDirection::inverse);

  deltas.kv_norm = latent_gradients(context, deltas.kv_b, kv_a, deltas.kv_a);
  if (dlatents.defined())
    kernels::add(context.pool, deltas.kv_a.f32(), dlatents.f32(), dlatents.size(), deltas.kv_a.f32());
  kernels::rope_rotate(context.pool, deltas.kv_a.f32() + latent, deltas.kv_a.dim(1), 0, tokens, 1,
                       rope_.angles(), positions.data(), kernels::RopeDirection::inverse);
  Tensor dx = linear_backward_input(context, weights_.kv_a_proj_with_mqa, deltas.kv_a);

  if (config_.q_lora_rank == 0) {
    linear_backward_input(context, weights_.q_proj, deltas.q, dx, /*accumulate=*/true);
    return dx;
  }
  const std::int64_t rank = config_.q_lora_rank;
  deltas.q_norm = linear_backward_input(context, weights_.q_b_proj, deltas.q);
  deltas.q_a = Tensor::empty({tokens, rank});
  kernels::rmsnorm_backward_input(context.pool, deltas.q_norm.f32(), rank, q_latent.f32(), rank,
                                  weights_.q_a_layernorm.f32(), kLatentNormEps, tokens, rank,
                                  deltas.q_a.f32(), rank, false);
  linear_backward_input(context, weights_.q_a_proj, deltas.q_a, dx, /*accumulate=*/true);
  return dx;
}

Tensor Mla::latent_gradients(const Context& context, const Tensor& dkv, const Tensor& kv_a,
                             Tensor& dkv_a) const {
  Tensor dnorm = linear_backward_input(context, weights_.kv_b_proj, dkv);
  kernels::rmsnorm_backward_input(context.pool, dnorm.f32(), dnorm.dim(1), kv_a.f32(), kv_a.dim(1),
                                  weights_.kv_a_layernorm.f32(), kLatentNormEps, kv_a.dim(0),
                                  config_.kv_lora_rank, dkv_a.f32(), dkv_a.dim(1), false);
  return dnorm;
}

void Mla::backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                          MlaWeights& grads) const {
  if (deltas.others_kv_a_layernorm.defined()) {
    const auto add_to = [&](const Tensor& from, Tensor& to) {
      kernels::add(context.pool, to.f32(), from.f32(), from.size(), to.f32());
    };
    add_to(deltas.others_kv_b_proj.weight, grads.kv_b_proj.weight);
    add_to(deltas.others_kv_a_layernorm, grads.kv_a_layernorm);
  }
  linear_backward_weight(context, deltas.o, saved.attention, grads.o_proj);
  linear_backward_weight(context, deltas.kv_b, deltas.kv_latent_norm, grads.kv_b_proj);
  norm_backward_weight(context, kLatentNormEps, saved.kv_a.f32(context), deltas.kv_norm,
                       grads.kv_a_layernorm);
  if (config_.q_lora_rank == 0) {
    linear_backward_weights(context, {{deltas.kv_a, grads.kv_a_proj_with_mqa}, {deltas.q, grads.q_proj}},
                            deltas.x);
    return;
  }
  linear_backward_weights(context, {{deltas.kv_a, grads.kv_a_proj_with_mqa}, {deltas.q_a, grads.q_a_proj}},
                          deltas.x);
  linear_backward_weight(context, deltas.q, deltas.q_latent_norm, grads.q_b_proj);
  norm_backward_weight(context, kLatentNormEps, saved.q_latent.f32(context), deltas.q_norm,
                       grads.q_a_layernorm);
}

}  // namespace fathom
