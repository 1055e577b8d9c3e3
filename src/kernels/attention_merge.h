#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/attention.h"

namespace fathom::kernels {

/// Makes of two attentions of the same queries, to other keys each, the one to all of these keys, for the
/// queries of the spans: out is weighted by the denominators of both softmaxes, log_sum_exp is that of their
/// sum.
/// @param out, part                          [query tokens, heads, v_dim]
/// @param log_sum_exp, part_log_sum_exp      [query tokens, heads]
void merge_attention(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionSpan> spans,
                     HeadRows<const float> part, const float* part_log_sum_exp, HeadRows<float> out,
                     float* log_sum_exp);

}  // namespace fathom::kernels
