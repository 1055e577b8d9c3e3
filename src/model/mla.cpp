#include "model/mla.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "base/error.h"
#include "kernels/attention.h"
#include "kernels/norm.h"
#include "model/linear.h"
#include "model/norm.h"

namespace fathom {
namespace {

using kernels::HeadRows;

/// Of the input of o_proj, which is quantised twice on its way to the weight's gradient: powers of two add no
/// error of their own (technical report, section 3.3.3).
constexpr TileScaling kAttentionScaling = {ScaleFormat::power_of_two, kActivationScaling.least_amax};

/// The position of every row: 0 onward within each sequence.
std::vector<std::int64_t> positions_of(const Sequences& sequences) {
  std::vector<std::int64_t> positions(static_cast<std::size_t>(sequences.tokens()));
  for (std::size_t s = 0; s + 1 < sequences.offsets.size(); ++s)
    std::iota(positions.begin() + sequences.offsets[s], positions.begin() + sequences.offsets[s + 1], 0);
  return positions;
}

std::vector<kernels::AttentionSpan> spans_of(const Sequences& sequences) {
  std::vector<kernels::AttentionSpan> spans;
  for (std::size_t s = 0; s + 1 < sequences.offsets.size(); ++s) {
    const std::int64_t begin = sequences.offsets[s];
    const std::int64_t length = sequences.offsets[s + 1] - begin;
    spans.push_back({begin, length, begin, length});
  }
  return spans;
}

void check_sequences(const Sequences& sequences, std::int64_t tokens) {
  require(!sequences.offsets.empty() && sequences.offsets.front() == 0 && sequences.tokens() == tokens &&
              std::is_sorted(sequences.offsets.begin(), sequences.offsets.end()),
          "sequences that end at token {} for {} rows: offsets must rise from 0 to the number of rows",
          sequences.offsets.empty() ? 0 : sequences.tokens(), tokens);
}

/// A [tokens, heads, dim] view from value `begin` of each head's `width` values on.
HeadRows<const float> head_rows(const Tensor& x, std::int64_t heads, std::int64_t begin = 0) {
  const std::int64_t token = x.size() / std::max<std::int64_t>(1, x.dim(0));
  return {x.f32() + begin, token, token / heads};
}
HeadRows<float> head_rows(Tensor& x, std::int64_t heads, std::int64_t begin = 0) {
  const std::int64_t token = x.size() / std::max<std::int64_t>(1, x.dim(0));
  return {x.f32() + begin, token, token / heads};
}

kernels::AttentionShape attention_shape(const ModelConfig& config) {
  return {config.num_attention_heads, config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim,
          static_cast<float>(config.softmax_scale())};
}

kernels::AttentionInputs attention_inputs(const ModelConfig& config, const Tensor& q, const Tensor& kv,
                                          const Tensor& kv_a) {
  const std::int64_t heads = config.num_attention_heads;
  return {head_rows(q, heads),
          head_rows(kv, heads),
          {kv_a.f32() + config.kv_lora_rank, kv_a.dim(1), 0},
          head_rows(kv, heads, config.qk_nope_head_dim)};
}

}  // namespace

Mla::Mla(const ModelConfig& config, const MlaWeights& weights, const RopeTable& rope)
    : config_(config), weights_(weights), rope_(rope) {}

void Mla::check_positions(std::int64_t end) const {
  require(end <= rope_.positions(), "a sequence of {} tokens, but positions were prepared for {}", end,
          rope_.positions());
}

Tensor Mla::query_latents(const Context& context, const Kept& x) const {
  return config_.q_lora_rank == 0 ? Tensor() : linear_forward(context, weights_.q_a_proj, x);
}

Tensor Mla::queries(const Context& context, const Kept& x, const Tensor& latent,
                    const std::vector<std::int64_t>& positions, Kept& normed) const {
  const std::int64_t heads = config_.num_attention_heads;
  const std::int64_t dim = config_.qk_head_dim();
  Tensor q;
  if (config_.q_lora_rank == 0) {
    q = linear_forward(context, weights_.q_proj, x);
  } else {
    normed = linear_input(context, norm_forward(context, kLatentNormEps, weights_.q_a_layernorm, latent));
    q = linear_forward(context, weights_.q_b_proj, normed);
  }
  kernels::rope_rotate(context.pool, q.f32() + config_.qk_nope_head_dim, heads * dim, dim, x.rows(), heads,
                       rope_.angles(), positions.data(), kernels::RopeDirection::forward);
  return q.reshape({x.rows(), heads, dim});
}

Tensor Mla::keys_values(const Context& context, const Tensor& kv_a, Kept& normed) const {
  normed = linear_input(context, norm_forward(context, kLatentNormEps, weights_.kv_a_layernorm, kv_a));
  return linear_forward(context, weights_.kv_b_proj, normed)
      .reshape({kv_a.dim(0), config_.num_attention_heads, config_.qk_nope_head_dim + config_.v_head_dim});
}

Tensor Mla::latents(const Context& context, const Kept& x, const std::vector<std::int64_t>& positions) const {
  Tensor kv_a = linear_forward(context, weights_.kv_a_proj_with_mqa, x);
  kernels::rope_rotate(context.pool, kv_a.f32() + config_.kv_lora_rank, config_.latent_dim(), 0, x.rows(), 1,
                       rope_.angles(), positions.data(), kernels::RopeDirection::forward);
  return kv_a;
}

Tensor Mla::forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved) const {
  const std::int64_t tokens = x.dim(0);
  const std::int64_t heads = config_.num_attention_heads;
  check_sequences(sequences, tokens);
  const std::vector<std::int64_t> positions = positions_of(sequences);
  if (!positions.empty()) check_positions(*std::max_element(positions.begin(), positions.end()) + 1);

  const Kept input = linear_input(context, x);
  Saved kept;
  Kept normed;
  Tensor q_latent = query_latents(context, input);
  if (q_latent.defined()) q_latent = keep_rounded(context, q_latent, kept.q_latent);
  const Tensor q = queries(context, input, q_latent, positions, normed);
  const Tensor kv_a = keep_rounded(context, latents(context, input, positions), kept.kv_a);
  const Tensor kv = keys_values(context, kv_a, normed);
  Tensor attention = Tensor::empty({tokens, heads, config_.v_head_dim});
  if (saved != nullptr) kept.log_sum_exp = Tensor::empty({tokens, heads});
  kernels::attention_forward(context.pool, attention_shape(config_), attention_inputs(config_, q, kv, kv_a),
                             spans_of(sequences), head_rows(attention, heads),
                             saved != nullptr ? kept.log_sum_exp.f32() : nullptr);
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
  check_sequences(sequences, tokens);
  const std::vector<std::int64_t> positions = positions_of(sequences);

  deltas.o = dy;
  const Tensor dattention = linear_backward_input(context, weights_.o_proj, dy);
  deltas.x = linear_input(context, x);
  const Tensor kv_a = saved.kv_a.f32(context);
  const Tensor q_latent = saved.q_latent.defined() ? saved.q_latent.f32(context) : Tensor();
  {
    const Tensor q = queries(context, deltas.x, q_latent, positions, deltas.q_latent_norm);
    const Tensor kv = keys_values(context, kv_a, deltas.kv_latent_norm);
    const Tensor attention = saved.attention.f32(context);
    deltas.q = Tensor::empty(q.shape());
    deltas.kv_b = Tensor::empty(kv.shape());
    deltas.kv_a = Tensor::empty(kv_a.shape());
    kernels::attention_backward(
        context.pool, attention_shape(config_), attention_inputs(config_, q, kv, kv_a), spans_of(sequences),
        head_rows(attention, heads), saved.log_sum_exp.f32(), head_rows(dattention, heads),
        {head_rows(deltas.q, heads),
         head_rows(deltas.kv_b, heads),
         {deltas.kv_a.f32() + latent, deltas.kv_a.dim(1), 0},
         head_rows(deltas.kv_b, heads, config_.qk_nope_head_dim)});
  }
  const std::int64_t dim = config_.qk_head_dim();
  kernels::rope_rotate(context.pool, deltas.q.f32() + config_.qk_nope_head_dim, heads * dim, dim, tokens,
                       heads, rope_.angles(), positions.data(), kernels::RopeDirection::inverse);
  kernels::rope_rotate(context.pool, deltas.kv_a.f32() + latent, deltas.kv_a.dim(1), 0, tokens, 1,
                       rope_.angles(), positions.data(), kernels::RopeDirection::inverse);

  deltas.kv_norm = linear_backward_input(context, weights_.kv_b_proj, deltas.kv_b);
  kernels::rmsnorm_backward_input(context.pool, deltas.kv_norm.f32(), latent, kv_a.f32(), kv_a.dim(1),
                                  weights_.kv_a_layernorm.f32(), kLatentNormEps, tokens, latent,
                                  deltas.kv_a.f32(), deltas.kv_a.dim(1), false);
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

void Mla::backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                          MlaWeights& grads) const {
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
