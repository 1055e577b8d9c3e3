#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <vector>

#include "base/error.h"
#include "kernels/gemm.h"

namespace fathom::kernels {
namespace {

constexpr std::int64_t kQueryBlock = 64;
constexpr std::int64_t kKeyBlock = 256;

/// A tile of scores: queries [query, query + rows) of a span against its keys [key, key + columns).
struct Tile {
  std::int64_t query;
  std::int64_t rows;
  std::int64_t key;
  std::int64_t columns;
  std::int64_t first_visible;  // columns that the first row sees; may exceed `columns` or be negative

  [[nodiscard]] std::int64_t visible(std::int64_t row) const {
    return std::clamp<std::int64_t>(first_visible + row, 0, columns);
  }
};

Tile tile_of(const AttentionSpan& span, std::int64_t query, std::int64_t rows, std::int64_t key) {
  const std::int64_t seen_by_first = span.keys - span.queries + query + 1;
  const std::int64_t seen_by_last = seen_by_first + rows - 1;
  return {query, rows, key, std::min(kKeyBlock, seen_by_last - key), seen_by_first - key};
}

/// scores[rows, columns] = scale · q · kᵀ, stride kKeyBlock.
void score_tile(const AttentionShape& shape, const AttentionInputs& in, const AttentionSpan& span,
                std::int64_t head, const Tile& tile, float* scores) {
  const float* q = in.q.row(span.query_begin + tile.query, head);
  const std::int64_t key = span.key_begin + tile.key;
  gemm_serial(tile.rows, tile.columns, shape.nope_dim, shape.scale, {q, in.q.token_stride},
              {in.k_nope.row(key, head), in.k_nope.token_stride, Transpose::yes}, 0.0F, scores, kKeyBlock);
  gemm_serial(tile.rows, tile.columns, shape.rope_dim, shape.scale, {q + shape.nope_dim, in.q.token_stride},
              {in.k_rope.row(key, head), in.k_rope.token_stride, Transpose::yes}, 1.0F, scores, kKeyBlock);
}

void forward_block(const AttentionShape& shape, const AttentionInputs& in, const AttentionSpan& span,
                   std::int64_t head, std::int64_t query, HeadRows<float> out, float* log_sum_exp) {
  const std::int64_t rows = std::min(kQueryBlock, span.queries - query);
  const std::int64_t seen = span.keys - span.queries + query + rows;
  const auto scores = std::make_unique_for_overwrite<float[]>(kQueryBlock * kKeyBlock);
  std::vector<float> maximum(kQueryBlock, -std::numeric_limits<float>::infinity());
  std::vector<float> sum(kQueryBlock, 0.0F);
  const std::int64_t first = span.query_begin + query;

  for (std::int64_t key = 0; key < seen; key += kKeyBlock) {
    const Tile tile = tile_of(span, query, rows, key);
    score_tile(shape, in, span, head, tile, scores.get());
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto i = static_cast<std::size_t>(r);
      float* row = scores.get() + r * kKeyBlock;
      const std::int64_t visible = tile.visible(r);
      const float top =
          std::max(maximum[i], visible == 0 ? maximum[i] : *std::max_element(row, row + visible));
      const float keep = std::exp(maximum[i] - top);
      float total = 0.0F;
      for (std::int64_t c = 0; c < visible; ++c) total += row[c] = std::exp(row[c] - top);
      std::fill(row + visible, row + tile.columns, 0.0F);
      sum[i] = sum[i] * keep + total;
      maximum[i] = top;
      float* o = out.row(first + r, head);
      for (std::int64_t d = 0; key != 0 && d < shape.v_dim; ++d) o[d] *= keep;
    }
    gemm_serial(rows, shape.v_dim, tile.columns, 1.0F, {scores.get(), kKeyBlock},
                {in.v.row(span.key_begin + key, head), in.v.token_stride}, key == 0 ? 0.0F : 1.0F,
                out.row(first, head), out.token_stride);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto i = static_cast<std::size_t>(r);
    float* o = out.row(first + r, head);
    for (std::int64_t d = 0; d < shape.v_dim; ++d) o[d] /= sum[i];
    if (log_sum_exp != nullptr) log_sum_exp[(first + r) * shape.heads + head] = maximum[i] + std::log(sum[i]);
  }
}

/// One head of one span. `dk_rope` is this head's part, [keys, rope_dim].
void backward_head(const AttentionShape& shape, const AttentionInputs& in, const AttentionSpan& span,
                   std::int64_t head, HeadRows<const float> out, const float* log_sum_exp,
                   HeadRows<const float> dout, const AttentionGradients& grads, float* dk_rope) {
  const auto probabilities = std::make_unique_for_overwrite<float[]>(kQueryBlock * kKeyBlock);
  const auto dscores = std::make_unique_for_overwrite<float[]>(kQueryBlock * kKeyBlock);
  std::vector<float> product(static_cast<std::size_t>(span.queries));  // dout · out of each query
  for (std::int64_t i = 0; i < span.queries; ++i) {
    const float* a = dout.row(span.query_begin + i, head);
    const float* b = out.row(span.query_begin + i, head);
    float total = 0.0F;
    for (std::int64_t d = 0; d < shape.v_dim; ++d) total += a[d] * b[d];
    product[static_cast<std::size_t>(i)] = total;
  }
  for (std::int64_t key = 0; key < span.keys; key += kKeyBlock) {
    const std::int64_t k = span.key_begin + key;
    const std::int64_t columns_all = std::min(kKeyBlock, span.keys - key);
    for (std::int64_t i = 0; i < columns_all; ++i) {
      std::fill_n(grads.k_nope.row(k + i, head), shape.nope_dim, 0.0F);
      std::fill_n(grads.v.row(k + i, head), shape.v_dim, 0.0F);
    }
    std::fill_n(dk_rope + key * shape.rope_dim, columns_all * shape.rope_dim, 0.0F);
    // The first block of queries that sees any of these keys.
    const std::int64_t first_query = std::max<std::int64_t>(0, key - (span.keys - span.queries));
    for (std::int64_t query = first_query / kQueryBlock * kQueryBlock; query < span.queries;
         query += kQueryBlock) {
      const std::int64_t rows = std::min(kQueryBlock, span.queries - query);
      const Tile tile = tile_of(span, query, rows, key);
      const std::int64_t t = span.query_begin + query;
      float* p = probabilities.get();
      float* ds = dscores.get();
      score_tile(shape, in, span, head, tile, p);
      gemm_serial(rows, tile.columns, shape.v_dim, 1.0F, {dout.row(t, head), dout.token_stride},
                  {in.v.row(k, head), in.v.token_stride, Transpose::yes}, 0.0F, ds, kKeyBlock);
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t visible = tile.visible(r);
        const float lse = log_sum_exp[(t + r) * shape.heads + head];
        const float mean = product[static_cast<std::size_t>(query + r)];
        float* prow = p + r * kKeyBlock;
        float* dsrow = ds + r * kKeyBlock;
        for (std::int64_t c = 0; c < visible; ++c) {
          prow[c] = std::exp(prow[c] - lse);
          dsrow[c] = prow[c] * (dsrow[c] - mean) * shape.scale;
        }
        std::fill(prow + visible, prow + tile.columns, 0.0F);
        std::fill(dsrow + visible, dsrow + tile.columns, 0.0F);
      }
      const Operand pt{p, kKeyBlock, Transpose::yes};
      const Operand dst{ds, kKeyBlock, Transpose::yes};
      const float* q = in.q.row(t, head);
      gemm_serial(tile.columns, shape.v_dim, rows, 1.0F, pt, {dout.row(t, head), dout.token_stride}, 1.0F,
                  grads.v.row(k, head), grads.v.token_stride);
      gemm_serial(tile.columns, shape.nope_dim, rows, 1.0F, dst, {q, in.q.token_stride}, 1.0F,
                  grads.k_nope.row(k, head), grads.k_nope.token_stride);
      gemm_serial(tile.columns, shape.rope_dim, rows, 1.0F, dst, {q + shape.nope_dim, in.q.token_stride},
                  1.0F, dk_rope + key * shape.rope_dim, shape.rope_dim);
      const float beta = key == 0 ? 0.0F : 1.0F;  // every query sees the first key
      float* dq = grads.q.row(t, head);
      gemm_serial(rows, shape.nope_dim, tile.columns, 1.0F, {ds, kKeyBlock},
                  {in.k_nope.row(k, head), in.k_nope.token_stride}, beta, dq, grads.q.token_stride);
      gemm_serial(rows, shape.rope_dim, tile.columns, 1.0F, {ds, kKeyBlock},
                  {in.k_rope.row(k, head), in.k_rope.token_stride}, beta, dq + shape.nope_dim,
                  grads.q.token_stride);
    }
  }
}

void check_spans(std::span<const AttentionSpan> spans) {
  for (const AttentionSpan& span : spans)
    require(span.queries >= 0 && span.queries <= span.keys,
            "attention of {} queries to {} keys: each query needs its own key", span.queries, span.keys);
}

}  // namespace

void attention_forward(ThreadPool& pool, const AttentionShape& shape, const AttentionInputs& inputs,
                       std::span<const AttentionSpan> spans, HeadRows<float> out, float* log_sum_exp) {
  check_spans(spans);
  struct Item {
    const AttentionSpan* span;
    std::int64_t query;
  };
  std::vector<Item> items;
  for (const AttentionSpan& span : spans)
    for (std::int64_t query = 0; query < span.queries; query += kQueryBlock) items.push_back({&span, query});
  // The longest rows first, so that no thread starts one when the others are done.
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return a.span->keys - a.span->queries + a.query > b.span->keys - b.span->queries + b.query;
  });
  const auto heads = static_cast<std::size_t>(shape.heads);
  pool.parallel_for(items.size() * heads, [&](std::size_t index) {
    const Item& item = items[index / heads];
    forward_block(shape, inputs, *item.span, static_cast<std::int64_t>(index % heads), item.query, out,
                  log_sum_exp);
  });
}

void attention_backward(ThreadPool& pool, const AttentionShape& shape, const AttentionInputs& inputs,
                        std::span<const AttentionSpan> spans, HeadRows<const float> out,
                        const float* log_sum_exp, HeadRows<const float> dout,
                        const AttentionGradients& gradients) {
  check_spans(spans);
  std::vector<std::int64_t> key_offset{0};  // of each span among all spans' keys
  for (const AttentionSpan& span : spans) key_offset.push_back(key_offset.back() + span.keys);
  const auto heads = static_cast<std::size_t>(shape.heads);
  const std::int64_t per_head = key_offset.back() * shape.rope_dim;
  const auto dk_rope = std::make_unique_for_overwrite<float[]>(
      heads * static_cast<std::size_t>(per_head));  // [heads, keys, rope]
  pool.parallel_for(spans.size() * heads, [&](std::size_t index) {
    const std::size_t s = index / heads;
    const auto head = static_cast<std::int64_t>(index % heads);
    backward_head(shape, inputs, spans[s], head, out, log_sum_exp, dout, gradients,
                  dk_rope.get() + head * per_head + key_offset[s] * shape.rope_dim);
  });
  pool.parallel_for(spans.size(), [&](std::size_t s) {
    for (std::int64_t i = 0; i < spans[s].keys; ++i) {
      float* sum = gradients.k_rope.row(spans[s].key_begin + i, 0);
      const float* parts = dk_rope.get() + (key_offset[s] + i) * shape.rope_dim;
      std::copy_n(parts, shape.rope_dim, sum);
      for (std::int64_t head = 1; head < shape.heads; ++head)
        for (std::int64_t d = 0; d < shape.rope_dim; ++d) sum[d] += parts[head * per_head + d];
    }
  });
}

}  // namespace fathom::kernels
