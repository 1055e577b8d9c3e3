#include "kernels/quant_grouped.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/nearest_weights.h"
#include "kernels/quant_linear.h"
#include "kernels/quant_rows.h"
#include "kernels/work_items.h"

namespace fathom::kernels {
namespace {

struct QuantJob {
  const LinearForward* job;
  const QuantizedRows* x;
  std::int64_t item_rows;
};

bool have_one_input(const LinearForward& a, const LinearForward& b) {
  return a.x == b.x && a.tokens == b.tokens && a.w.in == b.w.in;
}

}  // namespace

void grouped_quant_forward(ThreadPool& pool, std::span<const LinearForward> jobs) {
  std::size_t bytes = 0;
  for (const LinearForward& job : jobs)
    if (is_block_quantized(job.w.dtype) && job.tokens > 0)
      bytes += stored_bytes(job.w.dtype, job.w.out * job.w.in);
  const std::size_t item_bytes = quant_item_bytes(pool, bytes);
  std::vector<QuantJob> quantized;
  std::deque<QuantizedRows> inputs;  // whose places are kept as it grows
  for (const LinearForward& job : jobs) {
    if (!is_block_quantized(job.w.dtype) || job.tokens == 0) continue;
    if (quantized.empty() || !have_one_input(*quantized.back().job, job))
      inputs.push_back(quantize_rows(pool, job.x, job.tokens, job.w.in, job.w.in));
    quantized.push_back({&job, &inputs.back(), quant_item_rows(job.w, job.tokens, item_bytes)});
  }
  for_all_items(
      pool, quantized.size(),
      [&](std::size_t j) { return pieces(quantized[j].job->w.out, quantized[j].item_rows); },
      [&](std::size_t j, std::int64_t item) {
        return row_of(quantized[j].job->w, item * quantized[j].item_rows);
      },
      [&](std::size_t j, std::int64_t item) {
        const LinearForward& job = *quantized[j].job;
        const std::int64_t begin = item * quantized[j].item_rows;
        quant_product({nearest(pool, job.w), begin, std::min(job.w.out, begin + quantized[j].item_rows),
                       quantized[j].x, nullptr, job.tokens, job.y + begin, job.w.out});
      });
}

}  // namespace fathom::kernels
