#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/latent_rows.h"

namespace fathom::kernels {

struct LatentAttentionShape {
  std::int64_t heads;
  std::int64_t latent_dim;  // kv_lora_rank
  std::int64_t rope_dim;    // qk_rope_head_dim
  float scale;              // of the scores, YaRN's mscale² included; positive
};

/// The absorbed form of MLA (DeepSeek-V2, arXiv 2405.04434, section 2.1.2): attention of new tokens to the
/// latent cache itself, whose rows serve all heads as keys and, less their rotated part, as values.
/// @param q       [tokens, heads, latent_dim + rope_dim], queries folded through W^UK, then the rotated part
/// @param cache   holds `length` rows; token i sees the first `length - tokens + i + 1` of them
/// @param out     [tokens, heads, latent_dim], attention-weighted latents
/// Cost: one pass over the cache for each group of at most 64 query rows (all heads of a few tokens), with
/// online softmax, each block of rows widened once, and used for scores and values while it is near. A long
/// cache is cut into runs whose sizes depend on `tokens` and `length` alone and whose results merge in order,
/// so that neither threads nor where pages lie change a bit.
void latent_attention(ThreadPool& pool, const LatentAttentionShape& shape, const float* q,
                      std::int64_t tokens, const LatentRows& cache, std::int64_t length, float* out);

}  // namespace fathom::kernels
