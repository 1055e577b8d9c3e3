// Mla over sequences that are shared out: what a rank's queries find in the other ranks' latents. Apart from
// mla.cpp because nothing else there knows of other ranks.
#include <cstddef>
#include <utility>

#include "kernels/attention.h"
#include "kernels/attention_merge.h"
#include "kernels/vector_ops.h"
#include "model/latent_ring.h"
#include "model/linear.h"
#include "model/mla.h"
#include "model/mla_views.h"
#include "model/norm.h"

namespace fathom {

void Mla::attend_to_others(const Context& context, const Tensor& q, LatentRing& ring, Tensor& attention,
                           Tensor& log_sum_exp) const {
  const std::int64_t heads = config_.num_attention_heads;
  Tensor part = Tensor::empty(attention.shape());
  Tensor part_log_sum_exp = Tensor::empty(log_sum_exp.shape());
  while (ring.advance()) {
    if (ring.seen().spans.empty()) continue;
    const Tensor kv_a = ring.seen_latents().f32(context);
    Kept normed;
    const Tensor kv = keys_values(context, kv_a, normed);
    kernels::attention_forward(context.pool, attention_shape(config_), attention_inputs(config_, q, kv, kv_a),
                               ring.seen().spans, head_rows(part, heads), part_log_sum_exp.f32());
    kernels::merge_attention(context.pool, attention_shape(config_), ring.seen().spans,
                             head_rows(std::as_const(part), heads), part_log_sum_exp.f32(),
                             head_rows(attention, heads), log_sum_exp.f32());
  }
}

Tensor Mla::backward_of_others(const Context& context, const Tensor& q, const Sequences& sequences,
                               const AttentionResult& result, LatentRing& ring, Deltas& deltas) const {
  const std::int64_t heads = config_.num_attention_heads;
  const std::int64_t latent = config_.kv_lora_rank;
  deltas.others_kv_b_proj.weight = Tensor::zeros(weights_.kv_b_proj.weight.shape());
  deltas.others_kv_a_layernorm = Tensor::zeros({latent});
  GradientRing sums(*context.sequence_peers, sequences, config_.latent_dim());
  Tensor dq = Tensor::empty(q.shape());
  while (ring.advance()) {
    const Tensor kv_a = ring.seen_latents().f32(context);
    Tensor dkv_a = Tensor::empty(kv_a.shape());
    if (!ring.seen().spans.empty()) {
      Kept normed;
      const Tensor kv = keys_values(context, kv_a, normed);
      Tensor dkv = Tensor::empty(kv.shape());
      kernels::attention_backward(
          context.pool, attention_shape(config_), attention_inputs(config_, q, kv, kv_a), ring.seen().spans,
          head_rows(result.attention, heads), result.log_sum_exp.f32(), head_rows(result.gradient, heads),
          {head_rows(dq, heads),
           head_rows(dkv, heads),
           {dkv_a.f32() + latent, dkv_a.dim(1), 0},
           head_rows(dkv, heads, config_.qk_nope_head_dim)});
      for (const kernels::AttentionSpan& span : ring.seen().spans) {
        Tensor sum = deltas.q.rows(span.query_begin, span.query_begin + span.queries);
        const Tensor part = dq.rows(span.query_begin, span.query_begin + span.queries);
        kernels::add(context.pool, sum.f32(), part.f32(), part.size(), sum.f32());
      }
      const Tensor dnorm = latent_gradients(context, dkv, kv_a, dkv_a);
      linear_backward_weight(context, dkv, normed, deltas.others_kv_b_proj);
      norm_backward_weight(context, kLatentNormEps, kv_a, dnorm, deltas.others_kv_a_layernorm);
    }
    sums.add(ring, dkv_a);
  }
  return sums.own();
}

}  // namespace fathom
