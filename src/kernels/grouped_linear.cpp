#include "kernels/grouped_linear.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/gemm.h"
#include "kernels/scratch.h"
#include "kernels/stream_linear.h"

namespace fathom::kernels {
namespace {

/// Streaming beats GEMM, which packs (and for narrow types expands) all weights first, well beyond the point
/// where memory stops being the limit: measured on Zen 4 up to 48 tokens, as long as the tokens stay in a
/// core's own cache.
constexpr std::int64_t kAlwaysStreamedTokens = 8;
constexpr std::int64_t kMostStreamedTokens = 48;
constexpr std::int64_t kMostStreamedInputs = std::int64_t{1} << 17U;  // values of x: 512 KiB
/// Weights of one streamed item: long enough a run for the memory system to stream.
constexpr std::int64_t kStreamedBytes = std::int64_t{128} << 10U;
/// The f32 panel that narrow weights are expanded into: rows x columns, 1 MiB.
constexpr std::int64_t kPanelRows = 128;
constexpr std::int64_t kPanelColumns = 2048;

/// Calls `work(job, item)` for every item of every job, `items(job)` of them, in one parallel region.
template <typename Items, typename Work>
void for_all_items(ThreadPool& pool, std::size_t jobs, const Items& items, const Work& work) {
  std::vector<std::int64_t> ends(jobs);
  std::int64_t total = 0;
  for (std::size_t job = 0; job < jobs; ++job) ends[job] = total += items(job);
  pool.parallel_for(static_cast<std::size_t>(total), [&](std::size_t index) {
    const auto item = static_cast<std::int64_t>(index);
    const auto job =
        static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), item) - ends.begin());
    work(job, item - (job == 0 ? 0 : ends[job - 1]));
  });
}

std::int64_t pieces(std::int64_t size, std::int64_t piece) {
  return (size + piece - 1) / piece;
}

const float* f32_data(const WeightMatrix& w) {
  require(w.dtype == DType::f32, "a weight of {} was used where F32 is needed", dtype_name(w.dtype));
  return static_cast<const float*>(w.data);
}

bool is_streamed(const LinearForward& job) {
  return job.tokens <= kAlwaysStreamedTokens ||
         (job.tokens <= kMostStreamedTokens && job.tokens * job.w.in <= kMostStreamedInputs);
}

/// Rows of a streamed item, in fours.
std::int64_t streamed_rows(const WeightMatrix& w) {
  const std::int64_t row_bytes =
      std::max<std::int64_t>(1, w.in * static_cast<std::int64_t>(dtype_size(w.dtype)));
  return std::max<std::int64_t>(4, kStreamedBytes / row_bytes / 4 * 4);
}

std::int64_t forward_items(const LinearForward& job) {
  if (job.tokens == 0 || job.w.out == 0) return 0;
  if (is_streamed(job)) return pieces(job.w.out, streamed_rows(job.w));
  if (job.w.dtype == DType::f32) return gemm_tiles(job.tokens, job.w.out, job.w.in).count();
  return pieces(job.w.out, kPanelRows);
}

void streamed_item(const LinearForward& job, std::int64_t item) {
  const std::int64_t rows = streamed_rows(job.w);
  stream_linear(job.w, item * rows, std::min(job.w.out, (item + 1) * rows), job.x, job.tokens, job.y);
}

/// All tokens times some rows of narrow weights, a panel of columns at a time, in order.
void expanded_item(const LinearForward& job, std::int64_t item) {
  const WeightMatrix& w = job.w;
  const std::int64_t row = item * kPanelRows;
  const std::int64_t rows = std::min(kPanelRows, w.out - row);
  float* panel = thread_scratch(static_cast<std::size_t>(kPanelRows * kPanelColumns));
  for (std::int64_t column = 0; column < std::max<std::int64_t>(w.in, 1); column += kPanelColumns) {
    const std::int64_t columns = std::min(kPanelColumns, w.in - column);
    expand_weights(w, row, rows, column, columns, panel);
    gemm_serial(job.tokens, rows, columns, 1.0F, {job.x + column, w.in}, {panel, columns, Transpose::yes},
                column == 0 ? 0.0F : 1.0F, job.y + row, w.out);
  }
}

void forward_item(const LinearForward& job, std::int64_t item) {
  if (is_streamed(job)) {
    streamed_item(job, item);
  } else if (job.w.dtype == DType::f32) {
    const WeightMatrix& w = job.w;
    gemm_tile(gemm_tiles(job.tokens, w.out, w.in), item, job.tokens, w.out, w.in, 1.0F, {job.x, w.in},
              {f32_data(w), w.in, Transpose::yes}, 0.0F, job.y, w.out);
  } else {
    expanded_item(job, item);
  }
}

}  // namespace

void grouped_linear_forward(ThreadPool& pool, std::span<const LinearForward> jobs) {
  for_all_items(
      pool, jobs.size(), [&](std::size_t job) { return forward_items(jobs[job]); },
      [&](std::size_t job, std::int64_t item) { forward_item(jobs[job], item); });
}

void grouped_linear_backward_input(ThreadPool& pool, std::span<const LinearBackwardInput> jobs) {
  const auto tiles = [](const LinearBackwardInput& job) {
    return gemm_tiles(job.tokens, job.w.in, job.w.out);
  };
  for_all_items(
      pool, jobs.size(), [&](std::size_t job) { return tiles(jobs[job]).count(); },
      [&](std::size_t index, std::int64_t item) {
        const LinearBackwardInput& job = jobs[index];
        gemm_tile(tiles(job), item, job.tokens, job.w.in, job.w.out, 1.0F, {job.dy, job.w.out},
                  {f32_data(job.w), job.w.in}, job.accumulate ? 1.0F : 0.0F, job.dx, job.w.in);
      });
}

void grouped_linear_backward_weight(ThreadPool& pool, std::span<const LinearBackwardWeight> jobs) {
  const auto tiles = [](const LinearBackwardWeight& job) { return gemm_tiles(job.out, job.in, job.tokens); };
  for_all_items(
      pool, jobs.size(),
      [&](std::size_t job) { return jobs[job].tokens == 0 ? 0 : tiles(jobs[job]).count(); },
      [&](std::size_t index, std::int64_t item) {
        const LinearBackwardWeight& job = jobs[index];
        gemm_tile(tiles(job), item, job.out, job.in, job.tokens, 1.0F, {job.dy, job.out, Transpose::yes},
                  {job.x, job.in}, 1.0F, job.dw, job.in);
      });
}

}  // namespace fathom::kernels
