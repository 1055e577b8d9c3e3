#include "kernels/grouped_linear.h"

#include <algorithm>
#include <vector>

#include "kernels/nearest_weights.h"
#include "kernels/packed_gemm.h"
#include "kernels/quant_grouped.h"
#include "kernels/stream_linear.h"
#include "kernels/work_items.h"

namespace fathom::kernels {
namespace {

/// Streaming beats GEMM, which packs all weights first, well beyond the point where memory stops being the
/// limit: measured on Zen 4 up to 48 tokens, as long as the tokens stay in a core's own cache.
constexpr std::int64_t kAlwaysStreamedTokens = 8;
constexpr std::int64_t kMostStreamedTokens = 48;
constexpr std::int64_t kMostStreamedInputs = std::int64_t{1} << 17U;  // values of x: 512 KiB
/// Weights of one streamed item: long enough a run for the memory system to stream.
constexpr std::int64_t kStreamedBytes = std::int64_t{128} << 10U;

bool is_streamed(const LinearForward& job) {
  if (is_block_quantized(job.w.dtype)) return false;
  return job.tokens <= kAlwaysStreamedTokens ||
         (job.tokens <= kMostStreamedTokens && job.tokens * job.w.in <= kMostStreamedInputs);
}

/// Rows of a streamed item, in fours.
std::int64_t streamed_rows(const WeightMatrix& w) {
  const std::int64_t row_bytes =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(stored_bytes(w.dtype, w.in)));
  return std::max<std::int64_t>(4, kStreamedBytes / row_bytes / 4 * 4);
}

std::int64_t streamed_items(const LinearForward& job) {
  return job.tokens == 0 || !is_streamed(job) ? 0 : pieces(job.w.out, streamed_rows(job.w));
}

void streamed_item(const ThreadPool& pool, const LinearForward& job, std::int64_t item) {
  const std::int64_t rows = streamed_rows(job.w);
  stream_linear(nearest(pool, job.w), item * rows, std::min(job.w.out, (item + 1) * rows), job.x, job.tokens,
                job.y);
}

/// The products of several maps, f32 sums of f32 inputs.
class Products {
 public:
  std::size_t operand(const GemmOperand& operand) {
    operands_.push_back(operand);
    return operands_.size() - 1;
  }
  /// Rows of a matrix of which many jobs in a row may take products.
  std::size_t shared_rows(const float* data, std::int64_t rows, std::int64_t k) {
    if (last_rows_ == operands_.size() || operands_[last_rows_].data != data ||
        operands_[last_rows_].rows != rows || operands_[last_rows_].k != k)
      last_rows_ = operand(gemm_rows(data, rows, k));
    return last_rows_;
  }
  void add(std::size_t a, std::size_t b, float* c, bool accumulate) {
    jobs_.push_back({a, b, c, operands_[b].rows, accumulate});
  }
  void run(ThreadPool& pool) const { grouped_gemm(pool, GemmInput::f32, operands_, jobs_); }

 private:
  std::vector<GemmOperand> operands_;
  std::vector<GemmJob> jobs_;
  std::size_t last_rows_ = 0;
};

}  // namespace

void grouped_linear_forward(ThreadPool& pool, std::span<const LinearForward> jobs) {
  for_all_items(
      pool, jobs.size(), [&](std::size_t job) { return streamed_items(jobs[job]); },
      [&](std::size_t job, std::int64_t item) {
        return row_of(jobs[job].w, item * streamed_rows(jobs[job].w));
      },
      [&](std::size_t job, std::int64_t item) { streamed_item(pool, jobs[job], item); });
  grouped_quant_forward(pool, jobs);
  Products products;
  for (const LinearForward& job : jobs) {
    if (is_streamed(job) || is_block_quantized(job.w.dtype)) continue;
    const std::size_t x = products.shared_rows(job.x, job.tokens, job.w.in);
    products.add(x, products.operand(gemm_weights(job.w)), job.y, false);
  }
  products.run(pool);
}

void grouped_linear_backward_input(ThreadPool& pool, std::span<const LinearBackwardInput> jobs) {
  Products products;
  for (const LinearBackwardInput& job : jobs)
    products.add(products.operand(gemm_rows(job.dy, job.tokens, job.w.out)),
                 products.operand(gemm_weights(job.w).flipped()), job.dx, job.accumulate);
  products.run(pool);
}

void grouped_linear_backward_weight(ThreadPool& pool, std::span<const LinearBackwardWeight> jobs) {
  Products products;
  for (const LinearBackwardWeight& job : jobs)
    products.add(products.operand(gemm_rows(job.dy, job.tokens, job.out).flipped()),
                 products.operand(gemm_rows(job.x, job.tokens, job.in).flipped()), job.dw, true);
  products.run(pool);
}

}  // namespace fathom::kernels
