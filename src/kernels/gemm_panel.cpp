#include "kernels/gemm_panel.h"

#include <hwy/cache_control.h>

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_panel.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/gemm_layout-inl.h"
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

struct MultiplyF32 {
  static HWY_INLINE VF Add(VF sum, VF a, VF b) { return hn::MulAdd(a, b, sum); }
};

#if HWY_TARGET == HWY_AVX3
/// Two products a lane. Highway 1.0 has no such operation, and its targets do not turn the instruction on for
/// the compiler, so that an intrinsic could not be inlined here.
struct MultiplyBf16Pairs {
  static HWY_INLINE VF Add(VF sum, VF a, VF b) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
    return sum;
  }
};
#endif

constexpr std::int64_t kStepsBetweenAsking = 8;

/// Asks for the lines that a product was told to, evenly over the steps along k of all its strips.
class WantedLines {
 public:
  explicit WantedLines(const PanelProduct& p) : next_(p.wanted.data()), end_(next_ + p.wanted.size()) {
    const std::int64_t steps = std::max<std::int64_t>(1, p.rows / kStripRows) * p.k;
    lines_at_once_ = (p.wanted_lines * kStepsBetweenAsking + steps - 1) / steps;
  }
  HWY_INLINE void ask() {
    for (std::int64_t lines = lines_at_once_; lines > 0; --lines) {
      if (left_ == 0) {
        if (next_ == end_) return;
        line_ = next_->from;
        left_ = next_->count;
        ++next_;
      }
      hwy::Prefetch(line_);
      line_ += 64;
      --left_;
    }
  }

 private:
  const CacheLines* next_;
  const CacheLines* end_;
  const std::byte* line_ = nullptr;
  std::int64_t left_ = 0;
  std::int64_t lines_at_once_;
};

/// kRows rows of a strip, from `row` on, by kVectors vectors of columns.
template <class Multiply, int kRows, int kVectors>
HWY_INLINE void Tile(const PanelProduct& p, std::int64_t row, WantedLines& wanted, float* HWY_RESTRICT c,
                     std::int64_t c_stride) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const float* HWY_RESTRICT a = p.a + row / kStripRows * p.strip_stride + row % kStripRows;
  const float* HWY_RESTRICT b = p.b;
  VF sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  for (std::int64_t i = 0; i < p.k;) {
    if constexpr (kRows == kStripRows) wanted.ask();
    for (const std::int64_t end = std::min(p.k, i + kStepsBetweenAsking); i < end; ++i) {
      VF column[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) column[v] = hn::LoadU(d, b + v * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const VF factor = hn::Set(d, a[r]);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sum[r][v] = Multiply::Add(sum[r][v], factor, column[v]);
      }
      a += kStripRows;
      b += kVectors * lanes;
    }
  }
  if (p.row_scale != nullptr) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const VF column_scale = hn::LoadU(d, p.column_scale + v * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        sum[r][v] = hn::Mul(sum[r][v], hn::Mul(column_scale, hn::Set(d, p.row_scale[row + r])));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      float* to = c + r * c_stride + v * lanes;
      hn::StoreU(p.accumulate ? hn::Add(hn::LoadU(d, to), sum[r][v]) : sum[r][v], d, to);
    }
  }
}

/// The same where C ends within the last vector: on a copy of that part of C.
template <class Multiply, int kRows, int kVectors>
HWY_NOINLINE void EdgeTile(const PanelProduct& p, std::int64_t row, WantedLines& wanted) {
  constexpr std::int64_t kWidth = kVectors * static_cast<std::int64_t>(hn::MaxLanes(DF()));
  HWY_ALIGN float copy[kRows * kWidth] = {};
  float* c = p.c + row * p.c_stride;
  if (p.accumulate)
    for (int r = 0; r < kRows; ++r) std::copy_n(c + r * p.c_stride, p.columns, copy + r * kWidth);
  Tile<Multiply, kRows, kVectors>(p, row, wanted, copy, kWidth);
  for (int r = 0; r < kRows; ++r) std::copy_n(copy + r * kWidth, p.columns, c + r * p.c_stride);
}

template <class Multiply, int kRows, int kVectors>
HWY_INLINE void TileOfC(const PanelProduct& p, std::int64_t row, WantedLines& wanted) {
  if (p.columns == kVectors * static_cast<std::int64_t>(hn::Lanes(DF()))) {
    Tile<Multiply, kRows, kVectors>(p, row, wanted, p.c + row * p.c_stride, p.c_stride);
  } else {
    EdgeTile<Multiply, kRows, kVectors>(p, row, wanted);
  }
}

template <class Multiply, int kVectors>
HWY_NOINLINE void MultiplyRows(const PanelProduct& p) {
  WantedLines wanted(p);
  std::int64_t row = 0;
  for (; row + kStripRows <= p.rows; row += kStripRows)
    TileOfC<Multiply, kStripRows, kVectors>(p, row, wanted);
  if constexpr (kStripRows > 4) {
    if (row + 4 <= p.rows) {
      TileOfC<Multiply, 4, kVectors>(p, row, wanted);
      row += 4;
    }
  }
  if (row + 2 <= p.rows) {
    TileOfC<Multiply, 2, kVectors>(p, row, wanted);
    row += 2;
  }
  if (row < p.rows) TileOfC<Multiply, 1, kVectors>(p, row, wanted);
}

/// With as many vectors as the panel has columns for.
template <class Multiply, int kVectors = kPanelVectors>
HWY_INLINE void MultiplyWith(const PanelProduct& p) {
  if constexpr (kVectors > kFewestVectors) {
    if (p.columns <= (kVectors - 1) * static_cast<std::int64_t>(hn::Lanes(DF()))) {
      MultiplyWith<Multiply, kVectors - 1>(p);
      return;
    }
  }
  MultiplyRows<Multiply, kVectors>(p);
}

void MultiplyPanel(const PanelProduct& p) {
#if HWY_TARGET == HWY_AVX3
  if (p.element == PanelElement::bf16_pair) {
    MultiplyWith<MultiplyBf16Pairs>(p);
    return;
  }
#endif
  MultiplyWith<MultiplyF32>(p);
}

PanelLayout Layout() {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(DF()));
#if HWY_TARGET == HWY_AVX3
  const bool pairs = __builtin_cpu_supports("avx512bf16") != 0;
#else
  const bool pairs = false;
#endif
  return {kStripRows, kPanelVectors * lanes, kFewestVectors * lanes, pairs};
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(Layout);
HWY_EXPORT(MultiplyPanel);

}  // namespace

PanelLayout panel_layout() {
  return HWY_DYNAMIC_DISPATCH(Layout)();
}

void multiply_panel(const PanelProduct& product) {
  HWY_DYNAMIC_DISPATCH(MultiplyPanel)(product);
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
