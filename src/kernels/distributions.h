#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// The place of each row's largest value, the first of equals.
/// @param rows    [tokens, vocab]
/// @param places  [tokens]
void argmax_rows(ThreadPool& pool, const float* rows, std::int64_t tokens, std::int64_t vocab,
                 std::int32_t* places);

/// softmax of each row of [tokens, vocab], in place.
void softmax_rows(ThreadPool& pool, float* rows, std::int64_t tokens, std::int64_t vocab);

/// Sum over the vocabulary of min(p, q): the part that two distributions share, and the probability that a
/// token drafted from q is accepted by the rule of speculative sampling (arXiv 2211.17192, section 3).
/// @param p       [..., vocab], probabilities
/// @param p_rows  [tokens], the row of p that each row of q is held against
/// @param q       [tokens, vocab], probabilities
/// @param sums    [tokens]
void overlap_rows(ThreadPool& pool, const float* p, const std::int64_t* p_rows, const float* q,
                  std::int64_t tokens, std::int64_t vocab, float* sums);

}  // namespace fathom::kernels
