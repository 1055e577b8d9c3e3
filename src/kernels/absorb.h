#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/linear.h"

namespace fathom::kernels {

/// kv_b_proj seen head by head: rows of W^UK, then rows of W^UV, over the latent.
struct AbsorbShape {
  std::int64_t heads;
  std::int64_t nope_dim;  // rows of a head's W^UK
  std::int64_t v_dim;     // rows of a head's W^UV
  std::int64_t rope_dim;  // of the queries
};

// The two products that the absorbed form of MLA adds around attention to the latent cache (DeepSeek-V2,
// arXiv 2405.04434, section 2.1.2). Each reads its half of kv_b once, in the type it is stored in, whatever
// the number of tokens.

/// folded[t, h] = [W^UK_hᵀ · q_nope[t, h]; q_rope[t, h]].
/// @param kv_b    [heads · (nope_dim + v_dim), latent_dim]
/// @param q       [tokens, heads, nope_dim + rope_dim]
/// @param folded  [tokens, heads, latent_dim + rope_dim]
void absorb_queries(ThreadPool& pool, const AbsorbShape& shape, const WeightMatrix& kv_b, const float* q,
                    std::int64_t tokens, float* folded);

/// out[t, h] = W^UV_h · attended[t, h].
/// @param attended  [tokens, heads, latent_dim]
/// @param out       [tokens, heads, v_dim]
void expand_values(ThreadPool& pool, const AbsorbShape& shape, const WeightMatrix& kv_b,
                   const float* attended, std::int64_t tokens, float* out);

}  // namespace fathom::kernels
