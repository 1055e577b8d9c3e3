#include "kernels/attention_merge.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace fathom::kernels {

void merge_attention(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionSpan> spans,
                     HeadRows<const float> part, const float* part_log_sum_exp, HeadRows<float> out,
                     float* log_sum_exp) {
  constexpr std::size_t kQueriesPerItem = 16;
  for (const AttentionSpan& span : spans)
    pool.parallel_ranges(
        static_cast<std::size_t>(span.queries), kQueriesPerItem, [&](std::size_t begin, std::size_t end) {
          for (auto i = static_cast<std::int64_t>(begin); i < static_cast<std::int64_t>(end); ++i)
            for (std::int64_t head = 0; head < shape.heads; ++head) {
              const std::int64_t query = span.query_begin + i;
              float& ours = log_sum_exp[query * shape.heads + head];
              const float theirs = part_log_sum_exp[query * shape.heads + head];
              const float both = std::max(ours, theirs) + std::log1p(std::exp(-std::abs(ours - theirs)));
              const float keep = std::exp(ours - both);
              const float add = std::exp(theirs - both);
              float* to = out.row(query, head);
              const float* from = part.row(query, head);
              for (std::int64_t d = 0; d < shape.v_dim; ++d) to[d] = keep * to[d] + add * from[d];
              ours = both;
            }
        });
}

}  // namespace fathom::kernels
