#include "kernels/packed_gemm.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/gemm_pack.h"
#include "kernels/gemm_panel.h"
#include "kernels/scratch.h"
#include "numerics/block_scale.h"

namespace fathom::kernels {
namespace {

// Of A, a block stays in the second-level cache while all of B that it meets is packed, panel by panel, next
// to it in the same cache.
constexpr std::int64_t kBlockRows = 256;
constexpr std::int64_t kBlockElements = 256;  // along k
static_assert(2 * kBlockElements <= kMostPackedK);

// Items are as large as still leaves some for many threads.
constexpr std::int64_t kWantedItems = 16;
constexpr std::int64_t kLeastWork = std::int64_t{1} << 21U;  // multiply-adds of an item
constexpr std::int64_t kLeastColumns = 192;                  // that make packing a block of A cheap

std::int64_t pieces(std::int64_t size, std::int64_t piece) {
  return (size + piece - 1) / piece;
}

/// Size of each of `count` like pieces, in whole `unit`s.
std::int64_t piece_of(std::int64_t size, std::int64_t count, std::int64_t unit) {
  return pieces(pieces(size, count), unit) * unit;
}

/// Columns [begin, end) of a job's C.
struct Columns {
  const GemmJob* job;
  std::int64_t begin;
  std::int64_t end;
};

/// Rows of one A, and columns of all jobs that share it.
struct Item {
  const GemmOperand* a;
  std::int64_t row;
  std::int64_t rows;
  std::vector<Columns> columns;
  std::int64_t work;  // multiply-adds
};

/// What all items of a call have in common.
struct Call {
  std::span<const GemmOperand> operands;
  PanelLayout layout;
  PanelElement element;

  [[nodiscard]] std::int64_t values_per_element() const { return element == PanelElement::bf16_pair ? 2 : 1; }
};

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

/// Rows of A times rows of B that one item covers.
class ItemRun {
 public:
  ItemRun(const Call& call, const Item& item) : call_(call), item_(item) {
    const std::int64_t strips = pieces(item.rows, call.layout.strip_rows) * call.layout.strip_rows;
    const std::int64_t panel = call.layout.panel_columns;
    const std::int64_t runs = kBlockElements * call.values_per_element() / kScaleBlock;
    float* memory =
        thread_scratch(static_cast<std::size_t>((strips + panel) * (kBlockElements + runs)) + kPackScratch);
    const auto take = [&](std::int64_t count) {
      float* taken = memory;
      memory += count;
      return taken;
    };
    a_ = take(strips * kBlockElements);
    b_ = take(panel * kBlockElements);
    row_scales_ = take(strips * runs);
    column_scales_ = take(panel * runs);
    pack_scratch_ = memory;
  }

  void operator()() {
    const std::int64_t k = item_.a->k;
    const std::int64_t most = kBlockElements * call_.values_per_element();
    const std::int64_t step =
        std::min(most, piece_of(k, std::max<std::int64_t>(1, pieces(k, most)), kScaleBlock));
    for (std::int64_t begin = 0; begin < k; begin += step) add_block(begin, std::min(step, k - begin));
    if (k == 0) clear();
  }

 private:
  void clear() const {
    for (const Columns& columns : item_.columns)
      for (std::int64_t r = 0; !columns.job->accumulate && r < item_.rows; ++r)
        std::fill(row_of_c(columns, item_.row + r) + columns.begin,
                  row_of_c(columns, item_.row + r) + columns.end, 0.0F);
  }

  static float* row_of_c(const Columns& columns, std::int64_t row) {
    return columns.job->c + row * columns.job->c_stride;
  }

  void add_block(std::int64_t k, std::int64_t ks) {
    pack_panels(*item_.a, {item_.row, item_.rows, k, ks}, call_.element, call_.layout.strip_rows,
                pack_scratch_, a_);
    for (std::int64_t run = 0; run * kScaleBlock < ks; ++run)
      pack_scales(*item_.a, item_.row, item_.rows, k + run * kScaleBlock, row_scales_ + run * item_.rows);
    for (const Columns& columns : item_.columns)
      for (std::int64_t begin = columns.begin; begin < columns.end; begin += call_.layout.panel_columns)
        add_panel(columns, begin, std::min(call_.layout.panel_columns, columns.end - begin), k, ks);
  }

  void add_panel(const Columns& columns, std::int64_t column, std::int64_t count, std::int64_t k,
                 std::int64_t ks) {
    const GemmOperand& b = call_.operands[columns.job->b];
    const std::int64_t width = pieces(count, call_.layout.column_unit) * call_.layout.column_unit;
    pack_panels(b, {column, count, k, ks}, call_.element, width, pack_scratch_, b_);
    const std::int64_t elements = packed_elements(call_.element, ks);
    PanelProduct product{.element = call_.element,
                         .a = a_,
                         .a_stride = elements * call_.layout.strip_rows,
                         .b = b_,
                         .rows = item_.rows,
                         .columns = count,
                         .k = elements,
                         .row_scale = nullptr,
                         .column_scale = nullptr,
                         .c = row_of_c(columns, item_.row) + column,
                         .c_stride = columns.job->c_stride,
                         .accumulate = columns.job->accumulate || k > 0};
    if (item_.a->scale == nullptr && b.scale == nullptr) {
      multiply_panel(product);
      return;
    }
    const std::int64_t run_elements = packed_elements(call_.element, kScaleBlock);
    product.row_scale = row_scales_;
    product.column_scale = column_scales_;
    for (std::int64_t run = 0; run * kScaleBlock < ks; ++run) {
      std::fill_n(column_scales_, width, 0.0F);
      pack_scales(b, column, count, k + run * kScaleBlock, column_scales_);
      product.k = std::min(run_elements, elements - run * run_elements);
      multiply_panel(product);
      product.a += run_elements * call_.layout.strip_rows;
      product.b += run_elements * width;
      product.row_scale += item_.rows;
      product.accumulate = true;
    }
  }

  const Call& call_;
  const Item& item_;
  float* a_;              // strips
  float* b_;              // one panel
  float* row_scales_;     // [runs of 128 along k, rows]
  float* column_scales_;  // [columns of a panel]
  float* pack_scratch_;
};

/// Appends the items of the jobs that share `a`, each of about `wanted_work`.
void cut_shared(const Call& call, const GemmOperand& a, std::span<const GemmJob* const> jobs,
                std::int64_t wanted_work, std::vector<Item>& items) {
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
      for (std::int64_t column = 0; column < end;) {
        if (room <= 0) {
          items.push_back({&a, row, count, {}, 0});
          room = step;
        }
        const std::int64_t taken = std::min(room, end - column);
        items.back().columns.push_back({job, column, column + taken});
        items.back().work += taken * count * a.k;
        room -= pieces(taken, panel) * panel;
        column += taken;
      }
    }
  }
}

/// The items of all jobs, the largest first, so that no thread is left with one at the end.
std::vector<Item> cut(const Call& call, std::span<const GemmJob> jobs) {
  std::vector<const GemmJob*> order;
  std::int64_t work = 0;
  for (const GemmJob& job : jobs) {
    order.push_back(&job);
    const GemmOperand& a = call.operands[job.a];
    work += a.rows * call.operands[job.b].rows * a.k;
  }
  std::ranges::stable_sort(order, {}, [](const GemmJob* job) { return job->a; });
  const std::int64_t wanted_work = std::max(kLeastWork, work / kWantedItems);
  std::vector<Item> items;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    while (end < order.size() && order[end]->a == order[begin]->a) ++end;
    cut_shared(call, call.operands[order[begin]->a], std::span(order).subspan(begin, end - begin),
               wanted_work, items);
    begin = end;
  }
  std::ranges::stable_sort(items, std::greater(), &Item::work);
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
  const Call call{operands, layout, element_of(input, layout)};
  const std::vector<Item> items = cut(call, jobs);
  pool.parallel_for(items.size(), [&](std::size_t index) { ItemRun(call, items[index])(); });
}

void packed_gemm(ThreadPool& pool, GemmInput input, const GemmOperand& a, const GemmOperand& b, float* c,
                 std::int64_t c_stride, bool accumulate) {
  const GemmOperand operands[] = {a, b};
  const GemmJob job{0, 1, c, c_stride, accumulate};
  grouped_gemm(pool, input, operands, {&job, 1});
}

}  // namespace fathom::kernels
