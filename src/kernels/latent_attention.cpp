#include "kernels/latent_attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "base/error.h"
#include "kernels/gemm.h"

namespace fathom::kernels {
namespace {

constexpr std::int64_t kKeyBlock = 64;  // cache rows that stay in a core's cache between their two uses
constexpr std::int64_t kQueryRows = 64;
constexpr std::int64_t kRun = 1024;  // cache rows of one work item
constexpr std::int64_t kEnoughGroups =
    8;  // groups of queries that keep threads busy without cutting the cache

/// What one group of query rows found in one run of the cache: a softmax not yet divided by its denominator.
struct Partial {
  float* values;   // [rows, latent_dim]
  float* maximum;  // [rows]
  float* sum;      // [rows]
};

/// Query rows of tokens [token, token + tokens) against cache rows [begin, end).
void attend_run(const LatentAttentionShape& shape, const float* q, std::int64_t tokens, const float* cache,
                std::int64_t begin, std::int64_t end, std::int64_t seen_by_first, const Partial& partial) {
  const std::int64_t width = shape.latent_dim + shape.rope_dim;
  const std::int64_t rows = tokens * shape.heads;
  std::vector<float> scores(static_cast<std::size_t>(rows * kKeyBlock));
  std::fill_n(partial.maximum, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(partial.sum, rows, 0.0F);
  std::fill_n(partial.values, rows * shape.latent_dim, 0.0F);
  end = std::min(end, seen_by_first + tokens - 1);
  for (std::int64_t key = begin; key < end; key += kKeyBlock) {
    const std::int64_t columns = std::min(kKeyBlock, end - key);
    gemm_serial(rows, columns, width, shape.scale, {q, width}, {cache + key * width, width, Transpose::yes},
                0.0F, scores.data(), kKeyBlock);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t visible =
          std::clamp<std::int64_t>(seen_by_first + r / shape.heads - key, 0, columns);
      float* row = scores.data() + r * kKeyBlock;
      float top = partial.maximum[r];
      for (std::int64_t c = 0; c < visible; ++c) top = std::max(top, row[c]);
      const float keep = visible == 0 ? 1.0F : std::exp(partial.maximum[r] - top);
      float total = 0.0F;
      for (std::int64_t c = 0; c < visible; ++c) total += row[c] = std::exp(row[c] - top);
      std::fill(row + visible, row + columns, 0.0F);
      partial.sum[r] = partial.sum[r] * keep + total;
      partial.maximum[r] = top;
      float* o = partial.values + r * shape.latent_dim;
      for (std::int64_t d = 0; d < shape.latent_dim; ++d) o[d] *= keep;
    }
    gemm_serial(rows, shape.latent_dim, columns, 1.0F, {scores.data(), kKeyBlock},
                {cache + key * width, width}, 1.0F, partial.values, shape.latent_dim);
  }
}

}  // namespace

void latent_attention(ThreadPool& pool, const LatentAttentionShape& shape, const float* q,
                      std::int64_t tokens, const float* cache, std::int64_t length, float* out) {
  require(tokens <= length, "latent attention of {} tokens to a cache of {}: the cache must hold them",
          tokens, length);
  const std::int64_t width = shape.latent_dim + shape.rope_dim;
  const std::int64_t group = std::max<std::int64_t>(1, kQueryRows / shape.heads);  // tokens that share a pass
  const std::int64_t groups = (tokens + group - 1) / group;
  const std::int64_t run = groups >= kEnoughGroups ? length : kRun;
  const std::int64_t runs = (length + run - 1) / run;
  const std::int64_t rows = group * shape.heads;
  const std::int64_t partial_size = rows * (shape.latent_dim + 2);
  std::vector<float> partials(static_cast<std::size_t>(groups * runs * partial_size));
  const auto partial_of = [&](std::int64_t g, std::int64_t r) {
    float* base = partials.data() + (g * runs + r) * partial_size;
    return Partial{base, base + rows * shape.latent_dim, base + rows * (shape.latent_dim + 1)};
  };
  pool.parallel_for(static_cast<std::size_t>(groups * runs), [&](std::size_t index) {
    const std::int64_t g = static_cast<std::int64_t>(index) / runs;
    const std::int64_t r = static_cast<std::int64_t>(index) % runs;
    const std::int64_t token = g * group;
    attend_run(shape, q + token * shape.heads * width, std::min(group, tokens - token), cache, r * run,
               std::min(length, (r + 1) * run), length - tokens + token + 1, partial_of(g, r));
  });
  pool.parallel_for(static_cast<std::size_t>(tokens * shape.heads), [&](std::size_t index) {
    const auto row = static_cast<std::int64_t>(index);
    const std::int64_t g = row / rows;
    const std::int64_t i = row % rows;
    float top = -std::numeric_limits<float>::infinity();
    for (std::int64_t r = 0; r < runs; ++r) top = std::max(top, partial_of(g, r).maximum[i]);
    float* o = out + row * shape.latent_dim;
    std::fill_n(o, shape.latent_dim, 0.0F);
    float sum = 0.0F;
    for (std::int64_t r = 0; r < runs; ++r) {
      const Partial partial = partial_of(g, r);
      const float weight = std::exp(partial.maximum[i] - top);
      sum += partial.sum[i] * weight;
      const float* values = partial.values + i * shape.latent_dim;
      for (std::int64_t d = 0; d < shape.latent_dim; ++d) o[d] += values[d] * weight;
    }
    for (std::int64_t d = 0; d < shape.latent_dim; ++d) o[d] /= sum;
  });
}

}  // namespace fathom::kernels
