#include "kernels/latent_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "base/error.h"
#include "kernels/attention_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/latent_attention.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/latent_rows-inl.h"
#include "kernels/tile_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Online softmax down the columns of scores [keys, rows], a query row to a lane; `keep` gets what the values
/// summed so far must be multiplied with.
void SoftmaxColumns(float* scores, std::int64_t keys, std::int64_t rows, float scale, float* maximum,
                    float* sum, float* keep) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale);
  for (std::int64_t r = 0; r < rows; r += lanes) {
    VF top = hn::Load(d, scores + r);
    for (std::int64_t k = 1; k < keys; ++k) top = hn::Max(hn::Load(d, scores + k * rows + r), top);
    const VF old = hn::Load(d, maximum + r);
    const VF shift = hn::Max(hn::Mul(top, factor), old);
    VF total = hn::Zero(d);
    for (std::int64_t k = 0; k < keys; ++k) {
      float* place = scores + k * rows + r;
      const VF p = ExpOfNonPositive(d, hn::MulSub(hn::Load(d, place), factor, shift));
      total = hn::Add(total, p);
      hn::Store(p, d, place);
    }
    const VF kept = ExpOfNonPositive(d, hn::Sub(old, shift));
    hn::Store(kept, d, keep + r);
    hn::Store(hn::MulAdd(hn::Load(d, sum + r), kept, total), d, sum + r);
    hn::Store(shift, d, maximum + r);
  }
}

/// [tokens · heads, width] to [width, rows of the group].
void LayOutQueries(const LatentJob& job, const float* q, std::int64_t tokens, float* to) {
  Transpose(q, job.width(), tokens * job.shape.heads, job.width(), to, job.rows());
}

/// A block of rows in f32, each row a latent and its key, with at least as many values behind the last latent
/// as fill its last vector: where the cache has them so, otherwise in `scratch`.
struct RowBlock {
  const float* values;
  std::int64_t stride;
};
RowBlock WidenBlock(const LatentJob& job, std::int64_t begin, std::int64_t count, float* scratch) {
  const LatentRows& cache = job.cache;
  const std::int64_t latent = job.shape.latent_dim;
  const bool is_in_one_page = begin / cache.page_positions == (begin + count - 1) / cache.page_positions;
  if (cache.layout.type == LatentType::f32 && is_in_one_page && padded(latent) == latent)
    return {reinterpret_cast<const float*>(cache.row(begin)), job.width()};
  const std::int64_t stride = padded(job.width());
  for (std::int64_t i = 0; i < count; ++i) {
    const std::byte* row = cache.row(begin + i);
    WidenLatent(cache.layout, row, scratch + i * stride);
    WidenKey(cache.layout, row, scratch + i * stride + latent);
  }
  return {scratch, stride};
}

/// Values of all queries that are multiplied with a block's keys at once: they stay in the first cache while
/// the keys pass by.
constexpr std::int64_t kNearQueries = 4608;

/// A group of `tokens` tokens, the first of which sees `seen_by_first` rows of the cache, against rows
/// [begin, end). Scores are made transposed, [keys, query rows]: so the products read the cache as it lies,
/// and the softmax needs no sums across lanes.
void AttendRun(const LatentJob& job, const float* queries, std::int64_t tokens, std::int64_t seen_by_first,
               std::int64_t begin, std::int64_t end, const LatentPartial& partial) {
  const std::int64_t width = job.width();
  const std::int64_t rows = job.rows();
  const std::int64_t stride = padded(job.shape.latent_dim);
  const std::int64_t block_size = kLatentKeyBlock * padded(width);
  const std::int64_t near_width = std::max<std::int64_t>(1, kNearQueries / rows);
  Arena arena(kLatentKeyBlock * rows + rows + block_size);
  float* scores = arena.take(kLatentKeyBlock * rows);
  float* keep = arena.take(rows);
  float* scratch = arena.take(block_size);
  std::fill_n(scratch, block_size, 0.0F);  // what pads rows must be numbers
  std::fill_n(partial.maximum, rows, -std::numeric_limits<float>::max());
  std::fill_n(partial.sum, rows, 0.0F);
  std::fill_n(partial.values, rows * stride, 0.0F);

  end = std::min(end, seen_by_first + tokens - 1);
  for (std::int64_t key = begin; key < end; key += kLatentKeyBlock) {
    const std::int64_t keys = std::min(kLatentKeyBlock, end - key);
    const RowBlock block = WidenBlock(job, key, keys, scratch);
    for (std::int64_t i = 0; i < width; i += near_width)
      TileGemm(keys, rows, std::min(near_width, width - i), {block.values + i, block.stride, 1},
               queries + i * rows, rows, scores, rows, i > 0);
    // The last few keys are hidden from all but the last tokens.
    for (std::int64_t k = std::max<std::int64_t>(0, seen_by_first - key); k < keys; ++k)
      std::fill_n(scores + k * rows, (key + k - seen_by_first + 1) * job.shape.heads,
                  -std::numeric_limits<float>::infinity());
    SoftmaxColumns(scores, keys, rows, job.shape.scale, partial.maximum, partial.sum, keep);
    for (std::int64_t r = 0; r < tokens * job.shape.heads; ++r)
      if (keep[r] != 1.0F) ScaleRow(partial.values + r * stride, stride, keep[r]);
    TileGemm(tokens * job.shape.heads, stride, keys, {scores, 1, rows}, block.values, block.stride,
             partial.values, stride, true);
  }
}

/// out[i] = sum over r of weights[r] · values[r · run_stride + i], for whole vectors.
void WeightedSum(const float* values, std::int64_t run_stride, const float* weights, std::int64_t runs,
                 std::int64_t count, float* out) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < count; i += lanes) {
    VF sum = hn::Zero(d);
    for (std::int64_t r = 0; r < runs; ++r)
      sum = hn::MulAdd(hn::Set(d, weights[r]), hn::Load(d, values + r * run_stride + i), sum);
    hn::Store(sum, d, out + i);
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(LayOutQueries);
HWY_EXPORT(AttendRun);
HWY_EXPORT(WeightedSum);

constexpr std::int64_t kQueryRows = 64;  // of a group: fill the registers, and share each read of the cache
constexpr std::int64_t kShortestRun = 512;  // cache rows of one work item
constexpr std::int64_t kMostItems = 128;    // each keeps its sums until they are merged

std::int64_t quotient_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

void latent_attention(ThreadPool& pool, const LatentAttentionShape& shape, const float* q,
                      std::int64_t tokens, const LatentRows& cache, std::int64_t length, float* out) {
  require(tokens <= length, "latent attention of {} tokens to a cache of {}: the cache must hold them",
          tokens, length);
  require(cache.layout.latent_dim == shape.latent_dim && cache.layout.rope_dim == shape.rope_dim,
          "latent attention of {} + {} values to a cache of {} + {}", shape.latent_dim, shape.rope_dim,
          cache.layout.latent_dim, cache.layout.rope_dim);
  if (tokens == 0) return;
  const std::int64_t group = std::clamp<std::int64_t>(kQueryRows / shape.heads, 1, tokens);  // tokens of one
  const std::int64_t groups = quotient_up(tokens, group);
  const LatentJob job{shape, cache, group};
  const std::int64_t run =
      std::max(kShortestRun, quotient_up(length * groups, kMostItems * kLatentKeyBlock) * kLatentKeyBlock);
  const std::int64_t runs = quotient_up(length, run);
  const std::int64_t rows = job.rows();
  const std::int64_t stride = padded(shape.latent_dim);

  const std::int64_t query_size = job.width() * rows;
  const std::int64_t partial_size = rows * (stride + 2);
  Arena arena(groups * query_size + groups * runs * partial_size);
  float* queries = arena.take(groups * query_size);
  float* partials = arena.take(groups * runs * partial_size);
  const auto partial_of = [&](std::int64_t g, std::int64_t r) {
    float* base = partials + (g * runs + r) * partial_size;
    return LatentPartial{base, base + rows * stride, base + rows * (stride + 1)};
  };
  const auto tokens_of = [&](std::int64_t g) { return std::min(group, tokens - g * group); };

  pool.parallel_for(static_cast<std::size_t>(groups), [&](std::size_t index) {
    const auto g = static_cast<std::int64_t>(index);
    HWY_DYNAMIC_DISPATCH(LayOutQueries)
    (job, q + g * group * shape.heads * job.width(), tokens_of(g), queries + g * query_size);
  });
  pool.parallel_for(static_cast<std::size_t>(groups * runs), [&](std::size_t index) {
    const std::int64_t g = static_cast<std::int64_t>(index) / runs;
    const std::int64_t r = static_cast<std::int64_t>(index) % runs;
    HWY_DYNAMIC_DISPATCH(AttendRun)
    (job, queries + g * query_size, tokens_of(g), length - tokens + g * group + 1, r * run,
     std::min(length, (r + 1) * run), partial_of(g, r));
  });
  // Merge the runs of each query row in their order, into the first.
  const std::int64_t group_rows = group * shape.heads;
  const auto merge = [&](std::int64_t row) {
    const std::int64_t g = row / group_rows;
    const std::int64_t i = row % group_rows;
    float top = -std::numeric_limits<float>::max();
    for (std::int64_t r = 0; r < runs; ++r) top = std::max(top, partial_of(g, r).maximum[i]);
    std::array<float, kMostItems> weights{};
    float sum = 0.0F;
    for (std::int64_t r = 0; r < runs; ++r) {
      weights[static_cast<std::size_t>(r)] = std::exp(partial_of(g, r).maximum[i] - top);
      sum += partial_of(g, r).sum[i] * weights[static_cast<std::size_t>(r)];
    }
    for (float& weight : weights) weight /= sum;
    float* merged = partial_of(g, 0).values + i * stride;
    HWY_DYNAMIC_DISPATCH(WeightedSum)(merged, partial_size, weights.data(), runs, stride, merged);
    std::copy_n(merged, shape.latent_dim, out + row * shape.latent_dim);
  };
  constexpr std::int64_t kValuesPerItem = 1 << 18;
  pool.parallel_ranges(static_cast<std::size_t>(tokens * shape.heads),
                       static_cast<std::size_t>(std::max<std::int64_t>(1, kValuesPerItem / (runs * stride))),
                       [&](std::size_t begin, std::size_t end) {
                         for (std::size_t row = begin; row < end; ++row)
                           merge(static_cast<std::int64_t>(row));
                       });
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
