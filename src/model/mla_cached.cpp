// Mla::forward_cached: generation. Apart from mla.cpp because nothing here has a backward pass.
#include <algorithm>
#include <cstddef>
#include <numeric>

#include "base/error.h"
#include "kernels/absorb.h"
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/latent_attention.h"
#include "kernels/norm.h"
#include "kernels/weight_rows.h"
#include "model/absorbed_low_rank.h"
#include "model/linear.h"
#include "model/mla.h"
#include "model/norm.h"

namespace fathom {
namespace {

using kernels::Transpose;

/// Whether folding W^UK and W^UV into queries and outputs takes no more multiplications than expanding every
/// cached token's keys and values, for `tokens` new ones of `length` in all. Few tokens are bound by reading
/// these matrices, which only the folded form does where they lie.
bool absorbed_is_cheaper(const ModelConfig& config, std::int64_t tokens, std::int64_t length) {
  constexpr std::int64_t kFewTokens = 8;
  if (tokens <= kFewTokens) return true;
  const auto latent = static_cast<double>(config.kv_lora_rank);
  const auto head = static_cast<double>(config.qk_nope_head_dim + config.v_head_dim);
  const auto rope = static_cast<double>(config.qk_rope_head_dim);
  const auto rows = static_cast<double>(tokens);
  const double pairs =
      rows * (static_cast<double>(length) - (rows - 1.0) / 2.0);  // of a query and a key it sees
  return rows * latent * head + pairs * (2.0 * latent + rope) <=
         static_cast<double>(length) * latent * head + pairs * (head + rope);
}

}  // namespace

void Mla::make_room(const CachedTokens<LatentCacheLayer>& batch) const {
  require(static_cast<std::int64_t>(batch.caches.size()) == batch.sequences.count(),
          "{} latent caches for {} sequences", batch.caches.size(), batch.sequences.count());
  for (std::int64_t s = 0; s < batch.sequences.count(); ++s) {
    const LatentCacheLayer& cache = batch.cache(s);
    const std::int64_t tokens = batch.end(s) - batch.begin(s);
    const kernels::LatentLayout& row = cache.table->layout().row;
    require(row.latent_dim == config_.kv_lora_rank && row.rope_dim == config_.qk_rope_head_dim,
            "a latent cache of rows of {} + {} values for a model that keeps {} + {}", row.latent_dim,
            row.rope_dim, config_.kv_lora_rank, config_.qk_rope_head_dim);
    require(cache.length + tokens <= cache.capacity,
            "the latent cache holds {} of {} tokens and cannot take {} more", cache.length, cache.capacity,
            tokens);
    check_positions(cache.length + tokens);
  }
  for (std::int64_t s = 0; s < batch.sequences.count(); ++s)
    batch.cache(s).table->reserve(batch.cache(s).length + batch.end(s) - batch.begin(s));
}

Tensor Mla::forward_cached(const Context& context, const Tensor& x,
                           const CachedTokens<LatentCacheLayer>& batch) const {
  make_room(batch);
  const std::int64_t width = config_.latent_dim();
  std::vector<std::int64_t> positions(static_cast<std::size_t>(x.dim(0)));
  for (std::int64_t s = 0; s < batch.sequences.count(); ++s)
    std::iota(positions.begin() + batch.begin(s), positions.begin() + batch.end(s), batch.cache(s).length);

  const Kept input = linear_input(context, x);
  const bool has_latents = config_.q_lora_rank > 0;
  auto [q, rows] = linear_forward_together(context, has_latents ? weights_.q_a_proj : weights_.q_proj,
                                           weights_.kv_a_proj_with_mqa, input);
  if (has_latents)
    q = linear_forward(context, weights_.q_b_proj,
                       norm_forward(context, kLatentNormEps, weights_.q_a_layernorm, q));
  q = rotated_queries(context, q, positions);
  rotate_keys(context, rows, positions);
  kernels::rmsnorm_forward(context.pool, rows.f32(), width, weights_.kv_a_layernorm.f32(), kLatentNormEps,
                           rows.dim(0), config_.kv_lora_rank, rows.f32(), width);
  for (std::int64_t s = 0; s < batch.sequences.count(); ++s)
    batch.cache(s).append(context.pool, rows.f32() + batch.begin(s) * width, batch.end(s) - batch.begin(s));

  Tensor attention = Tensor::empty({x.dim(0), config_.num_attention_heads, config_.v_head_dim});
  const auto is_absorbed = [&](std::int64_t s) {
    return absorbed_is_cheaper(config_, batch.end(s) - batch.begin(s), batch.cache(s).length);
  };
  for (std::int64_t first = 0; first < batch.sequences.count();) {
    std::int64_t last = first + 1;
    const bool absorbed = is_absorbed(first);
    while (absorbed && last < batch.sequences.count() && is_absorbed(last)) ++last;
    const std::int64_t begin = batch.begin(first);
    if (batch.begin(last) > begin) {
      const Tensor queries_here = q.rows(begin, batch.begin(last));
      float* out = attention.rows(begin, batch.begin(last)).f32();
      if (absorbed) {
        attend_absorbed(context, queries_here, batch, first, last, out);
      } else {
        attend_expanded(context, queries_here, batch.cache(first), out);
      }
    }
    first = last;
  }
  return linear_forward(context, weights_.o_proj, attention);
}

Tensor Mla::forward_cached(const Context& context, const Tensor& x, LatentCacheLayer& cache) const {
  const Sequences one = Sequences::uniform(1, x.dim(0));
  LatentCacheLayer* const caches[] = {&cache};
  return forward_cached(context, x, {one, caches});
}

void Mla::attend_absorbed(const Context& context, const Tensor& q,
                          const CachedTokens<LatentCacheLayer>& batch, std::int64_t first, std::int64_t last,
                          float* out) const {
  const std::int64_t tokens = q.dim(0);
  const std::int64_t heads = config_.num_attention_heads;
  const std::int64_t latent = config_.kv_lora_rank;
  const std::int64_t rope = config_.qk_rope_head_dim;
  const kernels::AbsorbShape shape{heads, config_.qk_nope_head_dim, config_.v_head_dim, rope};
  const kernels::WeightMatrix kv_b = weights_.kv_b_proj.matrix();
  Tensor folded = Tensor::empty({tokens, heads, latent + rope});
  if (absorbed_kv_b_.defined()) {
    absorbed_kv_b_.fold_queries(context, q.f32(), tokens, folded.f32());
  } else {
    kernels::absorb_queries(context.pool, shape, kv_b, q.f32(), tokens, folded.f32());
  }
  const LowRank& adapter = weights_.kv_b_proj.adapter;
  if (adapter.defined()) fold_queries_more(context, config_, adapter, q.f32(), tokens, folded.f32());
  Tensor attended = Tensor::empty({tokens, heads, latent});
  for (std::int64_t s = first; s < last; ++s) {
    const std::int64_t begin = batch.begin(s) - batch.begin(first);
    const std::int64_t end = batch.end(s) - batch.begin(first);
    const LatentCacheLayer& cache = batch.cache(s);
    if (begin == end) continue;
    kernels::latent_attention(context.pool,
                              {heads, latent, rope, static_cast<float>(config_.softmax_scale())},
                              folded.rows(begin, end).f32(), end - begin, cache.rows(), cache.length,
                              attended.rows(begin, end).f32());
  }
  if (absorbed_kv_b_.defined()) {
    absorbed_kv_b_.unfold_values(context, attended.f32(), tokens, out);
  } else {
    kernels::expand_values(context.pool, shape, kv_b, attended.f32(), tokens, out);
  }
  if (adapter.defined()) unfold_values_more(context, config_, adapter, attended.f32(), tokens, out);
}

void Mla::attend_expanded(const Context& context, const Tensor& q, const LatentCacheLayer& cache,
                          float* out) const {
  const std::int64_t tokens = q.dim(0);
  const std::int64_t length = cache.length;
  const std::int64_t heads = config_.num_attention_heads;
  const std::int64_t head_width = config_.qk_nope_head_dim + config_.v_head_dim;
  const std::int64_t latent = config_.kv_lora_rank;
  const std::int64_t rope = config_.qk_rope_head_dim;
  const kernels::WeightMatrix kv_b = weights_.kv_b_proj.matrix();
  // Few enough heads at a time that their keys and values stay within 64 MB.
  constexpr std::int64_t kExpandedValues = 1 << 24;
  const std::int64_t group = std::clamp<std::int64_t>(kExpandedValues / (length * head_width), 1, heads);

  // And few enough cached rows that they are widened within a few more.
  constexpr std::int64_t kWidenedRows = 4096;
  const kernels::LatentRows rows = cache.rows();
  Tensor widened = Tensor::empty({std::min(length, kWidenedRows), latent});
  Tensor keys = Tensor::empty({length, rope});
  kernels::load_latent_rows(context.pool, rows, 0, length, kernels::LatentPart::key, keys.f32());

  Tensor kv = Tensor::empty({length, group, head_width});
  Tensor scratch = Tensor::empty({group * head_width, latent});
  const kernels::AttentionSpan span{0, tokens, 0, length};
  for (std::int64_t head = 0; head < heads; head += group) {
    const std::int64_t count = std::min(group, heads - head);
    const std::int64_t stride = count * head_width;
    const float* w = rows_with_adapter(
        context, weights_.kv_b_proj.adapter, head * head_width, (head + count) * head_width,
        kernels::weight_rows_f32(kv_b, head * head_width, (head + count) * head_width, scratch.f32()),
        scratch.f32());
    for (std::int64_t begin = 0; begin < length; begin += kWidenedRows) {
      const std::int64_t end = std::min(begin + kWidenedRows, length);
      kernels::load_latent_rows(context.pool, rows, begin, end, kernels::LatentPart::latent, widened.f32());
      kernels::gemm(context.pool, end - begin, stride, latent, 1.0F, {widened.f32(), latent},
                    {w, latent, Transpose::yes}, 0.0F, kv.f32() + begin * stride, stride);
    }
    const std::int64_t dim = config_.qk_head_dim();
    kernels::attention_forward(
        context.pool,
        {count, config_.qk_nope_head_dim, rope, config_.v_head_dim,
         static_cast<float>(config_.softmax_scale())},
        {{q.f32() + head * dim, heads * dim, dim},
         {kv.f32(), stride, head_width},
         {keys.f32(), rope, 0},
         {kv.f32() + config_.qk_nope_head_dim, stride, head_width}},
        {&span, 1}, {out + head * config_.v_head_dim, heads * config_.v_head_dim, config_.v_head_dim},
        nullptr);
  }
}

}  // namespace fathom
