#include "kernels/packed_gemm.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/gemm_item.h"
#include "kernels/gemm_panel.h"
#include "numerics/block_scale.h"

namespace fathom::kernels {
namespace {

// Items are as large as still leaves some for many threads.
constexpr std::int64_t kWantedItems = 16;
constexpr std::int64_t kLeastWork = std::int64_t{1} << 21U;  // multiply-adds of an item
constexpr std::int64_t kLeastColumns = 192;                  // that make packing a block of A cheap

/// Rows of one item: what leaves room for the rest in the second-level cache.
constexpr std::int64_t kBlockRows = 256;

PanelElement element_of(GemmInput input, const PanelLayout& layout) {
  if (input == GemmInput::f32) return PanelElement::f32;
  return layout.multiplies_bf16_pairs ? PanelElement::bf16_pair : PanelElement::f32_rounded;
}

void check(std::span<const GemmOperand> operands, std::span<const GemmJob> jobs) {
  for (const GemmJob& job : jobs) {
    require(job.a < operands.size() && job.b < operands.size(),
            "a product of operands {} and {}, but there are {}", job.a, job.b, operands.size());
    const std::int64_t k = operands[job.a].k;
    require(k == operands[job.b].k, "a product of rows of {} values with rows of {}", k, operands[job.b].k);
  }
  for (const GemmOperand& operand : operands)
    require(operand.dtype == DType::f32 || operand.dtype == DType::bf16 || operand.dtype == DType::f16 ||
                operand.dtype == DType::f8_e4m3,
            "a product of {} values, it takes F32, BF16, F16 and F8_E4M3", dtype_name(operand.dtype));
}

/// Appends the items of the jobs that share `a`, each of about `wanted_work`.
void cut_shared(const GemmCall& call, const GemmOperand& a, std::span<const GemmJob* const> jobs,
                std::int64_t wanted_work, std::vector<GemmItem>& items) {
  std::int64_t columns = 0;
  for (const GemmJob* job : jobs) columns += call.operands[job->b].rows;
  if (a.rows == 0 || columns == 0) return;
  const std::int64_t rows = piece_of(a.rows, pieces(a.rows, kBlockRows), call.layout.strip_rows);
  const std::int64_t per_column = rows * std::max<std::int64_t>(1, a.k);
  const std::int64_t panel = call.layout.panel_columns;
  const std::int64_t step =
      std::max({wanted_work / per_column / panel * panel, kLeastColumns / panel * panel, panel});
  for (std::int64_t row = 0; row < a.rows; row += rows) {
    const std::int64_t count = std::min(rows, a.rows - row);
    std::int64_t room = 0;
    for (const GemmJob* job : jobs) {
      const std::int64_t end = call.operands[job->b].rows;
      for (std::int64_t column = 0; column < end; column += panel) {
        if (room <= 0) {
          items.push_back({&a, row, count, {}, 0});
          room = step;
        }
        const std::int64_t taken = std::min(panel, end - column);
        items.back().panels.push_back({job, column, taken});
        items.back().work += taken * count * a.k;
        room -= panel;
      }
    }
  }
}

/// The items of all jobs, the largest first, so that no thread is left with one at the end.
std::vector<GemmItem> cut(const GemmCall& call, std::span<const GemmJob> jobs) {
  std::vector<const GemmJob*> order;
  std::int64_t work = 0;
  for (const GemmJob& job : jobs) {
    order.push_back(&job);
    const GemmOperand& a = call.operands[job.a];
    work += a.rows * call.operands[job.b].rows * a.k;
  }
  std::ranges::stable_sort(order, {}, [](const GemmJob* job) { return job->a; });
  const std::int64_t wanted_work = std::max(kLeastWork, work / kWantedItems);
  std::vector<GemmItem> items;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    while (end < order.size() && order[end]->a == order[begin]->a) ++end;
    cut_shared(call, call.operands[order[begin]->a], std::span(order).subspan(begin, end - begin),
               wanted_work, items);
    begin = end;
  }
  std::ranges::stable_sort(items, std::greater(), &GemmItem::work);
  return items;
}

}  // namespace

GemmOperand GemmOperand::flipped() const {
  require(gather == nullptr && (scale == nullptr || scale_rows == kScaleBlock),
          "a gathered matrix, or one whose scales are not of square blocks, cannot be flipped");
  GemmOperand other = *this;
  std::swap(other.rows, other.k);
  std::swap(other.scale_row_stride, other.scale_k_stride);
  other.transposed = !transposed;
  return other;
}

GemmOperand gemm_rows(const float* data, std::int64_t rows, std::int64_t k) {
  GemmOperand operand;
  operand.data = data;
  operand.rows = rows;
  operand.k = k;
  operand.stride = k;
  return operand;
}

GemmOperand gemm_weights(const WeightMatrix& w) {
  GemmOperand operand;
  operand.data = w.data;
  operand.dtype = w.dtype;
  operand.rows = w.out;
  operand.k = w.in;
  operand.stride = w.in;
  operand.scale = w.dtype == DType::f8_e4m3 ? w.block_scale : nullptr;
  operand.scale_rows = kScaleBlock;
  operand.scale_row_stride = scale_blocks(w.in);
  operand.scale_k_stride = 1;
  return operand;
}

void grouped_gemm(ThreadPool& pool, GemmInput input, std::span<const GemmOperand> operands,
                  std::span<const GemmJob> jobs) {
  check(operands, jobs);
  const PanelLayout layout = panel_layout();
  const GemmCall call{operands, layout, element_of(input, layout)};
  const std::vector<GemmItem> items = cut(call, jobs);
  pool.parallel_for(items.size(), [&](std::size_t index) { run_item(call, items[index]); });
}

void packed_gemm(ThreadPool& pool, GemmInput input, const GemmOperand& a, const GemmOperand& b, float* c,
                 std::int64_t c_stride, bool accumulate) {
  const GemmOperand operands[] = {a, b};
  const GemmJob job{0, 1, c, c_stride, accumulate};
  grouped_gemm(pool, input, operands, {&job, 1});
}

}  // namespace fathom::kernels
