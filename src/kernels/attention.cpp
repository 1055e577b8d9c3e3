#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <vector>

#include "base/error.h"
#include "kernels/attention_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/tile_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Online softmax over one row of scores, in place: e^(scale · score - maximum) for the `visible` first, 0 up
/// to the end of the row of `columns`.
/// @returns what the values summed so far must be multiplied with
float SoftmaxRow(float* row, std::int64_t visible, std::int64_t columns, float scale, float& maximum,
                 float& sum) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t whole = visible / lanes * lanes;
  const auto some = hn::FirstN(d, static_cast<std::size_t>(visible - whole));
  VF top = hn::Set(d, -std::numeric_limits<float>::max());
  for (std::int64_t i = 0; i < whole; i += lanes) top = hn::Max(hn::Load(d, row + i), top);
  if (whole < visible) top = hn::IfThenElse(some, hn::Max(hn::Load(d, row + whole), top), top);
  const float new_maximum = visible == 0 ? maximum : std::max(maximum, ReduceMax(d, top) * scale);
  const VF factor = hn::Set(d, scale);
  const VF shift = hn::Set(d, new_maximum);
  VF total = hn::Zero(d);
  std::int64_t i = 0;
  for (; i < whole; i += lanes) {
    const VF p = ExpOfNonPositive(d, hn::MulSub(hn::Load(d, row + i), factor, shift));
    total = hn::Add(total, p);
    hn::Store(p, d, row + i);
  }
  if (i < visible) {
    const VF p =
        hn::IfThenElseZero(some, ExpOfNonPositive(d, hn::MulSub(hn::Load(d, row + i), factor, shift)));
    total = hn::Add(total, p);
    hn::Store(p, d, row + i);
    i += lanes;
  }
  for (; i < columns; i += lanes) hn::Store(hn::Zero(d), d, row + i);
  const float keep = new_maximum == maximum ? 1.0F : std::exp(maximum - new_maximum);
  maximum = new_maximum;
  sum = sum * keep + Reduce(d, total);
  return keep;
}

/// Scores and gradients at probabilities, to probabilities and gradients at scores, in place: p = e^(scale ·
/// s - log_sum_exp), ds = scale · p · (dp - mean); both 0 from `visible` to `columns`.
void SoftmaxRowBackward(float* s, float* dp, std::int64_t visible, std::int64_t columns, float scale,
                        float log_sum_exp, float mean) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale);
  const VF shift = hn::Set(d, log_sum_exp);
  const VF scaled_mean = hn::Set(d, mean * scale);
  std::int64_t i = 0;
  for (; i < visible; i += lanes) {
    VF p = ExpOfNonPositive(d, hn::MulSub(hn::Load(d, s + i), factor, shift));
    if (i + lanes > visible) p = hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(visible - i)), p);
    hn::Store(p, d, s + i);
    hn::Store(hn::Mul(p, hn::MulSub(hn::Load(d, dp + i), factor, scaled_mean)), d, dp + i);
  }
  for (; i < columns; i += lanes) {
    hn::Store(hn::Zero(d), d, s + i);
    hn::Store(hn::Zero(d), d, dp + i);
  }
}

/// Queries [query, query + kQueryBlock) of one head of a span.
void ForwardBlock(const Job& job, std::int64_t query, HeadRows<float> out, float* log_sum_exp) {
  const AttentionShape& shape = job.shape;
  const std::int64_t qk = job.qk_dim();
  const std::int64_t width = padded(shape.v_dim);
  const std::int64_t rows = std::min(kQueryBlock, job.span.queries - query);
  const std::int64_t first = job.span.query_begin + query;
  Arena arena(padded(rows * qk) + qk * kKeyBlock + kKeyBlock * width + kQueryStrip * kKeyBlock +
              rows * width + 2 * padded(rows));
  float* q = arena.take(rows * qk);
  float* keys = arena.take(qk * kKeyBlock);  // transposed
  float* values = arena.take(kKeyBlock * width);
  float* scores = arena.take(kQueryStrip * kKeyBlock);
  float* sums = arena.take(rows * width);
  float* maximum = arena.take(rows);
  float* denominator = arena.take(rows);
  copy_rows(job.in.q.row(first, job.head), job.in.q.token_stride, rows, qk, q, qk);
  std::fill_n(maximum, rows, -std::numeric_limits<float>::max());
  std::fill_n(denominator, rows, 0.0F);

  const std::int64_t seen = job.seen_by(query + rows - 1);
  for (std::int64_t key = 0; key < seen; key += kKeyBlock) {
    const std::int64_t k = job.span.key_begin + key;
    const std::int64_t count = std::min(kKeyBlock, seen - key);
    Transpose(job.in.k_nope.row(k, job.head), job.in.k_nope.token_stride, count, shape.nope_dim, keys,
              kKeyBlock);
    Transpose(job.in.k_rope.row(k, job.head), job.in.k_rope.token_stride, count, shape.rope_dim,
              keys + shape.nope_dim * kKeyBlock, kKeyBlock);
    copy_rows(job.in.v.row(k, job.head), job.in.v.token_stride, count, shape.v_dim, values, width);
    for (std::int64_t strip = 0; strip < rows; strip += kQueryStrip) {
      const std::int64_t strip_rows = std::min(kQueryStrip, rows - strip);
      const std::int64_t columns = std::min(count, job.seen_by(query + strip + strip_rows - 1) - key);
      if (columns <= 0) continue;
      TileGemm(strip_rows, columns, qk, {q + strip * qk, qk, 1}, keys, kKeyBlock, scores, kKeyBlock, false);
      for (std::int64_t r = 0; r < strip_rows; ++r) {
        const std::int64_t visible =
            std::clamp<std::int64_t>(job.seen_by(query + strip + r) - key, 0, columns);
        const float keep = SoftmaxRow(scores + r * kKeyBlock, visible, columns, shape.scale,
                                      maximum[strip + r], denominator[strip + r]);
        if (key != 0 && keep != 1.0F) ScaleRow(sums + (strip + r) * width, width, keep);
      }
      TileGemm(strip_rows, width, columns, {scores, kKeyBlock, 1}, values, width, sums + strip * width, width,
               key != 0);
    }
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    ScaleRow(sums + r * width, width, 1.0F / denominator[r]);
    std::copy_n(sums + r * width, shape.v_dim, out.row(first + r, job.head));
    if (log_sum_exp != nullptr)
      log_sum_exp[(first + r) * shape.heads + job.head] = maximum[r] + std::log(denominator[r]);
  }
}

/// One head of a span, a block of keys at a time. `dk_rope` is this head's part, [keys, rope_dim].
void BackwardHead(const Job& job, HeadRows<const float> out, const float* log_sum_exp,
                  HeadRows<const float> dout, const AttentionGradients& grads, float* dk_rope) {
  const AttentionShape& shape = job.shape;
  const AttentionSpan& span = job.span;
  const std::int64_t head = job.head;
  const std::int64_t qk = padded(job.qk_dim());
  const std::int64_t v = padded(shape.v_dim);
  constexpr std::int64_t kTile = kQueryStrip * kKeyBlock;
  Arena arena(2 * kTile + 3 * kKeyBlock * qk + 2 * kKeyBlock * v + kQueryStrip * (qk + v) +
              span.queries * qk + padded(span.queries));
  float* scores = arena.take(kTile);
  float* dscores = arena.take(kTile);
  float* keys = arena.take(kKeyBlock * qk);
  float* keys_transposed = arena.take(kKeyBlock * qk);
  float* dkeys = arena.take(kKeyBlock * qk);
  float* values_transposed = arena.take(kKeyBlock * v);
  float* dvalues = arena.take(kKeyBlock * v);
  float* q = arena.take(kQueryStrip * qk);
  float* doutput = arena.take(kQueryStrip * v);
  float* dq = arena.take(span.queries * qk);
  float* mean = arena.take(span.queries);  // dout · out: what all of a query's probabilities have in common
  for (std::int64_t i = 0; i < span.queries; ++i)
    mean[i] = Dot(dout.row(span.query_begin + i, head), out.row(span.query_begin + i, head),
                  static_cast<std::size_t>(shape.v_dim));

  for (std::int64_t key = 0; key < span.keys; key += kKeyBlock) {
    const std::int64_t k = span.key_begin + key;
    const std::int64_t count = std::min(kKeyBlock, span.keys - key);
    for (std::int64_t r = 0; r < count; ++r) {
      float* to = std::copy_n(job.in.k_nope.row(k + r, head), shape.nope_dim, keys + r * qk);
      to = std::copy_n(job.in.k_rope.row(k + r, head), shape.rope_dim, to);
      std::fill(to, keys + (r + 1) * qk, 0.0F);
    }
    Transpose(keys, qk, count, job.qk_dim(), keys_transposed, kKeyBlock);
    Transpose(job.in.v.row(k, head), job.in.v.token_stride, count, shape.v_dim, values_transposed, kKeyBlock);
    std::fill_n(dkeys, count * qk, 0.0F);
    std::fill_n(dvalues, count * v, 0.0F);

    // From the first strip of queries that sees any of these keys.
    const std::int64_t blind = std::max<std::int64_t>(0, key - job.seen_by(0) + 1);
    for (std::int64_t query = blind / kQueryStrip * kQueryStrip; query < span.queries; query += kQueryStrip) {
      const std::int64_t rows = std::min(kQueryStrip, span.queries - query);
      const std::int64_t columns = std::min(count, job.seen_by(query + rows - 1) - key);
      const std::int64_t t = span.query_begin + query;
      copy_rows(job.in.q.row(t, head), job.in.q.token_stride, rows, job.qk_dim(), q, qk);
      copy_rows(dout.row(t, head), dout.token_stride, rows, shape.v_dim, doutput, v);
      TileGemm(rows, columns, job.qk_dim(), {q, qk, 1}, keys_transposed, kKeyBlock, scores, kKeyBlock, false);
      TileGemm(rows, columns, shape.v_dim, {doutput, v, 1}, values_transposed, kKeyBlock, dscores, kKeyBlock,
               false);
      for (std::int64_t r = 0; r < rows; ++r)
        SoftmaxRowBackward(scores + r * kKeyBlock, dscores + r * kKeyBlock,
                           std::clamp<std::int64_t>(job.seen_by(query + r) - key, 0, columns), columns,
                           shape.scale, log_sum_exp[(t + r) * shape.heads + head], mean[query + r]);
      TileGemm(columns, v, rows, {scores, 1, kKeyBlock}, doutput, v, dvalues, v, true);
      TileGemm(columns, qk, rows, {dscores, 1, kKeyBlock}, q, qk, dkeys, qk, true);
      // Every query sees the first key: there its sum begins.
      TileGemm(rows, qk, columns, {dscores, kKeyBlock, 1}, keys, qk, dq + query * qk, qk, key != 0);
    }
    for (std::int64_t r = 0; r < count; ++r) {
      std::copy_n(dkeys + r * qk, shape.nope_dim, grads.k_nope.row(k + r, head));
      std::copy_n(dkeys + r * qk + shape.nope_dim, shape.rope_dim, dk_rope + (key + r) * shape.rope_dim);
      std::copy_n(dvalues + r * v, shape.v_dim, grads.v.row(k + r, head));
    }
  }
  for (std::int64_t i = 0; i < span.queries; ++i)
    std::copy_n(dq + i * qk, job.qk_dim(), grads.q.row(span.query_begin + i, head));
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(ForwardBlock);
HWY_EXPORT(BackwardHead);

void check_spans(std::span<const AttentionSpan> spans) {
  for (const AttentionSpan& span : spans)
    require(span.queries >= 0 &&
                span.keys >= (span.is_causal ? span.queries : std::min<std::int64_t>(1, span.queries)),
            "attention of {} queries to {} keys: each query needs {}", span.queries, span.keys,
            span.is_causal ? "its own key" : "a key");
}

}  // namespace

void attention_forward(ThreadPool& pool, const AttentionShape& shape, const AttentionInputs& inputs,
                       std::span<const AttentionSpan> spans, HeadRows<float> out, float* log_sum_exp) {
  check_spans(spans);
  struct Item {
    const AttentionSpan* span;
    std::int64_t query;
    std::int64_t seen;  // by its first query
  };
  std::vector<Item> items;
  for (const AttentionSpan& span : spans)
    for (std::int64_t query = 0; query < span.queries; query += kQueryBlock)
      items.push_back({&span, query, Job{shape, inputs, span, 0}.seen_by(query)});
  // The longest rows first, so that no thread starts one when the others are done.
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.seen > b.seen; });
  const auto heads = static_cast<std::size_t>(shape.heads);
  pool.parallel_for(items.size() * heads, [&](std::size_t index) {
    const Item& item = items[index / heads];
    HWY_DYNAMIC_DISPATCH(ForwardBlock)
    ({shape, inputs, *item.span, static_cast<std::int64_t>(index % heads)}, item.query, out, log_sum_exp);
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
  // [heads, keys, rope_dim]: each head's share of the gradient of the key part that all share.
  const auto dk_rope = std::make_unique_for_overwrite<float[]>(heads * static_cast<std::size_t>(per_head));
  pool.parallel_for(spans.size() * heads, [&](std::size_t index) {
    const std::size_t s = index / heads;
    const auto head = static_cast<std::int64_t>(index % heads);
    HWY_DYNAMIC_DISPATCH(BackwardHead)
    ({shape, inputs, spans[s], head}, out, log_sum_exp, dout, gradients,
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
#endif  // HWY_ONCE
