#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// Rows of a [tokens, heads, dim] array that may lie inside wider rows: head h of token t begins at
/// data + t · token_stride + h · head_stride.
template <typename T>
struct HeadRows {
  T* data;
  std::int64_t token_stride;
  std::int64_t head_stride;

  [[nodiscard]] T* row(std::int64_t token, std::int64_t head) const {
    return data + token * token_stride + head * head_stride;
  }
};

struct AttentionShape {
  std::int64_t heads;
  std::int64_t nope_dim;  // of a key's own part
  std::int64_t rope_dim;  // of the rotated part, which all heads share
  std::int64_t v_dim;
  float scale;  // of the scores, YaRN's mscale² included; positive
};

/// Queries and the keys they may see. Causal: the last query is aligned with the last key, so that query i of
/// `queries` sees the first `keys - queries + i + 1` keys of the span (a prefill behind a cache has more
/// keys). Not causal: each query sees all of the keys, which are an earlier part of its sequence.
struct AttentionSpan {
  std::int64_t query_begin;
  std::int64_t queries;
  std::int64_t key_begin;
  std::int64_t keys;
  bool is_causal = true;
};

/// MLA's expanded form keeps a key in two places: a part per head, and the rotated part shared by all heads,
/// which is not copied for each.
struct AttentionInputs {
  HeadRows<const float> q;       // [query tokens, heads, nope_dim + rope_dim]
  HeadRows<const float> k_nope;  // [key tokens, heads, nope_dim]
  HeadRows<const float> k_rope;  // [key tokens, rope_dim], head_stride 0
  HeadRows<const float> v;       // [key tokens, heads, v_dim]
};

struct AttentionGradients {
  HeadRows<float> q;
  HeadRows<float> k_nope;
  HeadRows<float> k_rope;  // [key tokens, rope_dim], the sum over heads; head_stride 0
  HeadRows<float> v;
};

/// out[query, head] = softmax(scale · q · kᵀ) · v over the keys its span lets it see (online softmax over
/// tiles, arXiv 2205.14135; no queries × keys matrix is made).
/// @param out          [query tokens, heads, v_dim]
/// @param log_sum_exp  [query tokens, heads], log of each softmax's denominator, for the backward pass;
///                     null: not kept
void attention_forward(ThreadPool& pool, const AttentionShape& shape, const AttentionInputs& inputs,
                       std::span<const AttentionSpan> spans, HeadRows<float> out, float* log_sum_exp);

/// Gradients of the inputs (assigned, for the spans' queries and keys) from dout; probabilities are
/// recomputed tile by tile from `log_sum_exp`. That and `out` may be of a softmax over more keys than those
/// here, whose share of the gradients then results. One work item is one head of one span, so sums have one
/// order whatever the threads.
void attention_backward(ThreadPool& pool, const AttentionShape& shape, const AttentionInputs& inputs,
                        std::span<const AttentionSpan> spans, HeadRows<const float> out,
                        const float* log_sum_exp, HeadRows<const float> dout,
                        const AttentionGradients& gradients);

}  // namespace fathom::kernels
