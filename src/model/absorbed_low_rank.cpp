#include "model/absorbed_low_rank.h"

#include <algorithm>
#include <cstddef>

#include "kernels/gemm.h"
#include "tensor/tensor.h"

namespace fathom {
namespace {

using kernels::Operand;
using kernels::Transpose;

/// Calls use(head, inner) for each head, with [tokens, rank] values of scratch memory.
template <typename Use>
void for_each_head(const Context& context, const ModelConfig& config, std::int64_t tokens, std::int64_t rank,
                   const Use& use) {
  context.pool.parallel_for(static_cast<std::size_t>(config.num_attention_heads), [&](std::size_t head) {
    Tensor inner = Tensor::empty({tokens, rank});
    use(static_cast<std::int64_t>(head), inner.f32());
  });
}

}  // namespace

void fold_queries_more(const Context& context, const ModelConfig& config, const LowRank& adapter,
                       const float* q, std::int64_t tokens, float* folded) {
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t rank = adapter.rank();
  const std::int64_t rows = config.qk_nope_head_dim + config.v_head_dim;
  for_each_head(context, config, tokens, rank, [&](std::int64_t head, float* inner) {
    const Operand b{adapter.up.f32() + head * rows * rank, rank};
    kernels::gemm_serial(tokens, rank, config.qk_nope_head_dim, 1.0F,
                         {q + head * config.qk_head_dim(), heads * config.qk_head_dim()}, b, 0.0F, inner,
                         rank);
    kernels::gemm_serial(tokens, config.kv_lora_rank, rank, 1.0F, {inner, rank},
                         {adapter.down.f32(), config.kv_lora_rank}, 1.0F, folded + head * config.latent_dim(),
                         heads * config.latent_dim());
  });
}

void unfold_values_more(const Context& context, const ModelConfig& config, const LowRank& adapter,
                        const float* attended, std::int64_t tokens, float* out) {
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t rank = adapter.rank();
  const std::int64_t latent = config.kv_lora_rank;
  const std::int64_t rows = config.qk_nope_head_dim + config.v_head_dim;
  for_each_head(context, config, tokens, rank, [&](std::int64_t head, float* inner) {
    const float* b = adapter.up.f32() + (head * rows + config.qk_nope_head_dim) * rank;
    kernels::gemm_serial(tokens, rank, latent, 1.0F, {attended + head * latent, heads * latent},
                         {adapter.down.f32(), latent, Transpose::yes}, 0.0F, inner, rank);
    kernels::gemm_serial(tokens, config.v_head_dim, rank, 1.0F, {inner, rank}, {b, rank, Transpose::yes},
                         1.0F, out + head * config.v_head_dim, heads * config.v_head_dim);
  });
}

const float* rows_with_adapter(const Context& context, const LowRank& adapter, std::int64_t begin,
                               std::int64_t end, const float* rows, float* scratch) {
  if (!adapter.defined()) return rows;
  const std::int64_t in = adapter.down.dim(1);
  const std::int64_t rank = adapter.rank();
  if (rows != scratch) std::copy_n(rows, (end - begin) * in, scratch);
  kernels::gemm(context.pool, end - begin, in, rank, 1.0F, {adapter.up.f32() + begin * rank, rank},
                {adapter.down.f32(), in}, 1.0F, scratch, in);
  return scratch;
}

}  // namespace fathom
