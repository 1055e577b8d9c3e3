#include "kernels/gemm_item.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/gemm_pack.h"
#include "kernels/scratch.h"
#include "numerics/block_scale.h"

namespace fathom::kernels {
namespace {

// A block of A stays in the second-level cache, [rows of the item, kBlockElements], and with it one panel of
// B at a time. While arithmetic goes on, the memory is asked for what is packed next.
constexpr std::int64_t kBlockElements = 256;
static_assert(2 * kBlockElements <= kMostPackedK);
constexpr std::int64_t kGroupRows = 32;  // rows of A that are packed at a time, just before they are needed

/// Values along k.
struct Run {
  std::int64_t k;
  std::int64_t ks;
};

/// Lines that the product of a group of rows shall ask for; what does not fit is left to the processor.
class WantedList {
 public:
  void add(const CacheLines& lines) {
    if (count_ == list_.size()) return;
    list_[count_++] = lines;
    lines_ += lines.count;
  }
  void give_to(PanelProduct& product) const {
    product.wanted = std::span(list_).first(count_);
    product.wanted_lines = lines_;
  }

 private:
  std::array<CacheLines, kMostPackedK + 4 * kGroupRows> list_;
  std::size_t count_ = 0;
  std::int64_t lines_ = 0;
};

/// A part of an operand that is packed after so many groups of rows.
class PackedSoon {
 public:
  PackedSoon(const StoredPart& part, std::int64_t groups)
      : part_(part), rows_each_(pieces(part.outer(), groups)) {}
  /// One group's share of it.
  void add_share(WantedList& wanted) {
    if (part_.inner() == 0) return;
    for (const std::int64_t end = std::min(part_.outer(), next_ + rows_each_); next_ < end; ++next_)
      wanted.add(part_.lines(next_));
  }

 private:
  StoredPart part_;
  std::int64_t rows_each_;
  std::int64_t next_ = 0;
};

class ItemRun {
 public:
  ItemRun(const GemmCall& call, const GemmItem& item)
      : call_(call), item_(item), strip_rows_(call.layout.strip_rows) {
    const std::int64_t rows = pieces(item.rows, kGroupRows) * kGroupRows;
    const std::int64_t columns = call.layout.panel_columns;
    const std::int64_t runs = most_ks() / kScaleBlock;
    float* memory =
        thread_scratch(static_cast<std::size_t>((rows + columns) * (kBlockElements + runs)) + kPackScratch);
    const auto take = [&](std::int64_t count) {
      float* taken = memory;
      memory += count;
      return taken;
    };
    a_ = take(rows * kBlockElements);
    b_ = take(columns * kBlockElements);
    row_scales_ = take(rows * runs);
    column_scales_ = take(columns * runs);
    pack_scratch_ = memory;
  }

  void operator()() {
    const std::int64_t k = item_.a->k;
    if (k == 0) {
      clear();
      return;
    }
    const std::int64_t step = std::min(most_ks(), piece_of(k, pieces(k, most_ks()), kScaleBlock));
    for (std::int64_t begin = 0; begin < k; begin += step) add_block({begin, std::min(step, k - begin)});
  }

 private:
  [[nodiscard]] std::int64_t most_ks() const {
    return call_.element == PanelElement::bf16_pair ? 2 * kBlockElements : kBlockElements;
  }
  [[nodiscard]] std::int64_t width(const GemmPanel& panel) const {
    return pieces(panel.columns, call_.layout.column_unit) * call_.layout.column_unit;
  }
  [[nodiscard]] float* c_of(const GemmPanel& panel, std::int64_t row) const {
    return panel.job->c + (item_.row + row) * panel.job->c_stride + panel.column;
  }
  [[nodiscard]] const GemmOperand& b_of(const GemmPanel& panel) const { return call_.operands[panel.job->b]; }
  [[nodiscard]] OperandPart a_part(std::int64_t row, const Run& run) const {
    return {item_.row + row, std::clamp<std::int64_t>(item_.rows - row, 0, kGroupRows), run.k, run.ks};
  }

  void clear() const {
    for (const GemmPanel& panel : item_.panels)
      for (std::int64_t r = 0; !panel.job->accumulate && r < item_.rows; ++r)
        std::fill_n(c_of(panel, r), panel.columns, 0.0F);
  }

  void add_block(const Run& run) {
    if (item_.a->scale != nullptr || has_scaled_panel()) pack_row_scales(run);
    for (std::size_t i = 0; i < item_.panels.size(); ++i) {
      const GemmPanel& panel = item_.panels[i];
      const GemmPanel& next = item_.panels[std::min(i + 1, item_.panels.size() - 1)];
      pack_panels(b_of(panel), {panel.column, panel.columns, run.k, run.ks}, call_.element, width(panel),
                  pack_scratch_, b_);
      if (is_scaled(panel)) pack_column_scales(panel, run);
      add_panel(panel, run, i == 0,
                PackedSoon(StoredPart(b_of(next), {next.column, next.columns, run.k, run.ks}),
                           pieces(item_.rows, kGroupRows)));
    }
  }

  [[nodiscard]] bool is_scaled(const GemmPanel& panel) const {
    return item_.a->scale != nullptr || b_of(panel).scale != nullptr;
  }
  [[nodiscard]] bool has_scaled_panel() const {
    return std::ranges::any_of(item_.panels, [&](const GemmPanel& panel) { return is_scaled(panel); });
  }
  void pack_row_scales(const Run& run) {
    for (std::int64_t i = 0; i * kScaleBlock < run.ks; ++i)
      pack_scales(*item_.a, item_.row, item_.rows, run.k + i * kScaleBlock, row_scales_ + i * item_.rows);
  }
  void pack_column_scales(const GemmPanel& panel, const Run& run) {
    std::fill_n(column_scales_, width(panel) * pieces(run.ks, kScaleBlock), 0.0F);
    for (std::int64_t i = 0; i * kScaleBlock < run.ks; ++i)
      pack_scales(b_of(panel), panel.column, panel.columns, run.k + i * kScaleBlock,
                  column_scales_ + i * width(panel));
  }

  /// All rows of A times the panel in `b_`. The first panel finds A not yet packed.
  void add_panel(const GemmPanel& panel, const Run& run, bool pack_a, PackedSoon next_panel) {
    const std::int64_t elements = packed_elements(call_.element, run.ks);
    for (std::int64_t group = 0; group < item_.rows; group += kGroupRows) {
      if (pack_a)
        pack_panels(*item_.a, a_part(group, run), call_.element, strip_rows_, pack_scratch_,
                    a_ + group * elements);
      const std::int64_t end = std::min(item_.rows, group + kGroupRows);
      WantedList wanted;
      for (std::int64_t r = group; r < end; ++r)
        wanted.add(cache_lines(c_of(panel, r), panel.columns * static_cast<std::int64_t>(sizeof(float))));
      next_panel.add_share(wanted);
      if (pack_a) PackedSoon(StoredPart(*item_.a, a_part(end, run)), 1).add_share(wanted);
      add_group(panel, run, {group, end}, wanted);
    }
  }

  void add_group(const GemmPanel& panel, const Run& run, std::pair<std::int64_t, std::int64_t> rows,
                 const WantedList& wanted) const {
    const std::int64_t elements = packed_elements(call_.element, run.ks);
    PanelProduct product{.element = call_.element,
                         .a = a_ + rows.first * elements,
                         .strip_stride = elements * strip_rows_,
                         .b = b_,
                         .rows = rows.second - rows.first,
                         .columns = panel.columns,
                         .k = elements,
                         .row_scale = nullptr,
                         .column_scale = nullptr,
                         .c = c_of(panel, rows.first),
                         .c_stride = panel.job->c_stride,
                         .accumulate = panel.job->accumulate || run.k > 0,
                         .wanted = {},
                         .wanted_lines = 0};
    wanted.give_to(product);
    if (!is_scaled(panel)) {
      multiply_panel(product);
      return;
    }
    const std::int64_t step = packed_elements(call_.element, kScaleBlock);
    product.row_scale = row_scales_ + rows.first;
    product.column_scale = column_scales_;
    for (std::int64_t begin = 0; begin < elements; begin += step) {
      product.k = std::min(step, elements - begin);
      multiply_panel(product);
      product.a += step * strip_rows_;
      product.b += step * width(panel);
      product.row_scale += item_.rows;
      product.column_scale += width(panel);
      product.accumulate = true;
      WantedList().give_to(product);
    }
  }

  const GemmCall& call_;
  const GemmItem& item_;
  std::int64_t strip_rows_;
  float* a_;              // strips
  float* b_;              // one panel
  float* row_scales_;     // [runs of 128 along k, rows]
  float* column_scales_;  // [runs of 128 along k, columns of a panel]
  float* pack_scratch_;
};

}  // namespace

void run_item(const GemmCall& call, const GemmItem& item) {
  ItemRun(call, item)();
}

}  // namespace fathom::kernels
