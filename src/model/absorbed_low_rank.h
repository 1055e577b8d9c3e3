#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/context.h"
#include "model/weights.h"

namespace fathom {

// What an adapter of kv_b_proj adds to MLA's cached forms. Its rows are W^UK's and W^UV's of each head, as
// kv_b_proj's are: up = [B^K_1; B^V_1; B^K_2; ...].

/// folded[t, h] += [Aᵀ · (B^K_hᵀ · q_nope[t, h]); 0], with A = down: the absorbed form's queries
/// (kernels/absorb.h).
/// @param q       [tokens, heads, qk_nope_head_dim + qk_rope_head_dim]
/// @param folded  [tokens, heads, kv_lora_rank + qk_rope_head_dim]
void fold_queries_more(const Context& context, const ModelConfig& config, const LowRank& adapter,
                       const float* q, std::int64_t tokens, float* folded);

/// out[t, h] += B^V_h · (A · attended[t, h]).
/// @param attended  [tokens, heads, kv_lora_rank]
/// @param out       [tokens, heads, v_head_dim]
void unfold_values_more(const Context& context, const ModelConfig& config, const LowRank& adapter,
                        const float* attended, std::int64_t tokens, float* out);

/// Rows [begin, end) of a weight with what its adapter adds, [end - begin, in], for the expanded form.
/// @param rows     of the weight, in f32
/// @param scratch  where they may be put together
/// @return  `rows` where there is no adapter, else `scratch`
const float* rows_with_adapter(const Context& context, const LowRank& adapter, std::int64_t begin,
                               std::int64_t end, const float* rows, float* scratch);

}  // namespace fathom
