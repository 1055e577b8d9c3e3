#include "kernels/quant_linear.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/error.h"
#include "kernels/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant_linear.cpp"
#define FATHOM_SIMD_FOR_INTEGERS
#include "kernels/simd.h"
// After simd.h.
#include "kernels/quant_formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Columns that are laid out at once, whole blocks of every format: codes and factors of a panel stay within
/// the first cache.
constexpr std::int64_t kChunk = 2048;
/// Panels that are laid out together, in the second cache, where tokens are many: their activations come from
/// further away and are read once for all of them.
constexpr std::int64_t kPanels = 64 / kPanelRows;
/// Tokens beyond which that pays.
constexpr std::int64_t kFewTokens = 16;

template <class F>
struct PanelSizes {
  static constexpr std::size_t kCodes = static_cast<std::size_t>(kChunk) / 4 * kPanelRows;
  static constexpr std::size_t kFactors = static_cast<std::size_t>(kChunk) / F::kGroup * 2 * kPanelRows;
};

/// Four codes of a block of activations, in every lane.
HWY_INLINE VU32 StepOfActivation(const ActivationBlock& x, std::size_t step) {
  std::uint32_t word = 0;
  std::memcpy(&word, x.codes + 4 * step, sizeof(word));
  return hn::Set(DU32(), word);
}

/// total + a group of values times activations, of whose codes `dot` is the product.
/// @param part  which half of the block; of groups of 32 there is one
template <class F>
HWY_INLINE VF AddGroup(VF total, VI32 dot, VF scale, VF offset, const ActivationBlock& x, std::size_t part) {
  const DF d;
  total = hn::MulAdd(hn::ConvertTo(d, dot), hn::Mul(scale, hn::Set(d, x.scale)), total);
  if constexpr (F::kHasOffset)
    total = hn::MulAdd(offset, hn::Set(d, F::kGroup == 32 ? x.sum : x.half_sums[part]), total);
  return total;
}

/// Asks for memory that is read next, as far as others have read by now; null: for none.
class Ahead {
 public:
  explicit Ahead(const std::uint8_t* next) : next_(next) {}
  HWY_INLINE void ask(std::size_t bytes) {
    constexpr std::size_t kLine = 64;
    constexpr int kSecondCache = 2;
    if (next_ != nullptr)
      for (; asked_ < bytes; asked_ += kLine) __builtin_prefetch(next_ + asked_, 0, kSecondCache);
  }

 private:
  const std::uint8_t* next_;
  std::size_t asked_ = 0;
};

/// Where a tile of tokens is read and its results go.
template <int kTokens>
struct Tile {
  const ActivationBlock* x[kTokens];  // at the chunk's first block
  float* y[kTokens];                  // at the panel's first row
};

/// What is under way for kTokens tokens; nested rather than an array, so that it stays in registers.
template <class F, int kTokens>
struct TileSums {
  TileSums<F, kTokens - 1> others;
  VF total;
  CodeDot<F::kLargest, F::kSigned> dot;

  /// @param rows  lanes that have a place in y
  template <int kAll>
  HWY_INLINE void begin(const Tile<kAll>& tile, bool accumulate, std::size_t rows) {
    others.begin(tile, accumulate, rows);
    const DF d;
    const float* y = tile.y[kTokens - 1];
    total = !accumulate ? hn::Zero(d) : rows == kPanelRows ? hn::LoadU(d, y) : LoadSome(d, y, rows);
  }
  HWY_INLINE void clear() {
    others.clear();
    dot.clear();
  }
  template <int kAll>
  HWY_INLINE void step(VU32 w, const Tile<kAll>& tile, std::size_t block, std::size_t step_of_block) {
    others.step(w, tile, block, step_of_block);
    dot.step(w, StepOfActivation(tile.x[kTokens - 1][block], step_of_block));
  }
  template <int kAll>
  HWY_INLINE void flush(VF scale, VF offset, const Tile<kAll>& tile, std::size_t block, std::size_t part) {
    others.flush(scale, offset, tile, block, part);
    total = AddGroup<F>(total, dot.sum(), scale, offset, tile.x[kTokens - 1][block], part);
  }
  template <int kAll>
  HWY_INLINE void store(const Tile<kAll>& tile, std::size_t rows) const {
    others.store(tile, rows);
    if (rows == kPanelRows) {
      hn::StoreU(total, DF(), tile.y[kTokens - 1]);
    } else {
      StoreSome(total, DF(), tile.y[kTokens - 1], rows);
    }
  }
};
template <class F>
struct TileSums<F, 0> {
  template <int kAll>
  HWY_INLINE void begin(const Tile<kAll>&, bool, std::size_t) {}
  HWY_INLINE void clear() {}
  template <int kAll>
  HWY_INLINE void step(VU32, const Tile<kAll>&, std::size_t, std::size_t) {}
  template <int kAll>
  HWY_INLINE void flush(VF, VF, const Tile<kAll>&, std::size_t, std::size_t) {}
  template <int kAll>
  HWY_INLINE void store(const Tile<kAll>&, std::size_t) const {}
};

/// A panel's chunk of `blocks` · 32 columns times a tile of tokens.
template <class F, int kTokens>
HWY_NOINLINE void MultiplyPanel(const std::uint32_t* HWY_RESTRICT codes, const float* HWY_RESTRICT factors,
                                std::size_t blocks, const Tile<kTokens>& tile, bool accumulate,
                                std::size_t rows) {
  constexpr std::size_t kParts = ActivationBlock::kValues / F::kGroup;
  constexpr std::size_t kStepsOfPart = kSteps / kParts;
  const DF d;
  TileSums<F, kTokens> sums;
  sums.begin(tile, accumulate, rows);
  for (std::size_t block = 0; block < blocks; ++block) {
#pragma GCC unroll 2
    for (std::size_t part = 0; part < kParts; ++part) {
      sums.clear();
#pragma GCC unroll 8
      for (std::size_t s = 0; s < kStepsOfPart; ++s)
        sums.step(hn::LoadU(DU32(), codes + s * kPanelRows), tile, block, part * kStepsOfPart + s);
      sums.flush(hn::LoadU(d, factors), hn::LoadU(d, factors + kPanelRows), tile, block, part);
      codes += kStepsOfPart * kPanelRows;
      factors += 2 * kPanelRows;
    }
  }
  sums.store(tile, rows);
}

/// Puts a panel's steps down in memory.
struct PanelSink {
  std::uint32_t* codes;
  template <std::size_t kStep>
  HWY_INLINE void step(VU32 v) {
    hn::StoreU(v, DU32(), codes + kStep * kPanelRows);
  }
};

/// Multiplies a panel's steps with one token as they come.
template <class F>
class DotSink {
 public:
  DotSink(const float* factors, const ActivationBlock* x, VF total)
      : factors_(factors), x_(x), total_(total) {}

  template <std::size_t kStep>
  HWY_INLINE void step(VU32 v) {
    constexpr std::size_t kStepsOfGroup = F::kGroup / 4;
    constexpr std::size_t kOwn = kStep / kStepsOfGroup;
    if constexpr (kStep % kStepsOfGroup == 0) dots_[kOwn].clear();
    const ActivationBlock& x = x_[kStep / kSteps];
    dots_[kOwn].step(v, StepOfActivation(x, kStep % kSteps));
    if constexpr (kStep % kStepsOfGroup == kStepsOfGroup - 1) {
      const DF d;
      const float* factors = factors_ + 2 * kOwn * kPanelRows;
      total_ = AddGroup<F>(total_, dots_[kOwn].sum(), hn::LoadU(d, factors),
                           hn::LoadU(d, factors + kPanelRows), x, kOwn % 2);
    }
  }
  [[nodiscard]] HWY_INLINE VF total() const { return total_; }

 private:
  static constexpr std::size_t kGroups = F::kBlock / F::kGroup;

  const float* factors_;
  const ActivationBlock* x_;
  VF total_;
  CodeDot<F::kLargest, F::kSigned> dots_[kGroups];
};

/// A panel's whole rows times one token, without laying them out.
/// @param next  as many bytes as are read here, to be asked for meanwhile, or null
template <class F>
HWY_NOINLINE VF DotPanel(const std::uint8_t* p, std::size_t stride, std::size_t blocks,
                         const ActivationBlock* x, const std::uint8_t* next) {
  const std::size_t bytes = block_bytes(F::kType);
  HWY_ALIGN float factors[2 * F::kBlock / F::kGroup * kPanelRows];
  VF total = hn::Zero(DF());
  Ahead ahead(next);
  for (std::size_t block = 0; block < blocks; ++block) {
    ahead.ask((block + 1) * bytes * kPanelRows);
    DotSink<F> sink(factors, x + block * F::kBlock / ActivationBlock::kValues, total);
    F::Unpack(p + block * bytes, stride, factors, sink);
    total = sink.total();
  }
  return total;
}

/// Lays out `blocks` blocks of a panel's rows.
/// @param next  as many bytes as are read here, to be asked for meanwhile, or null
template <class F>
HWY_NOINLINE void UnpackPanel(const std::uint8_t* p, std::size_t stride, std::size_t blocks,
                              std::uint32_t* HWY_RESTRICT codes, float* HWY_RESTRICT factors,
                              const std::uint8_t* next) {
  const std::size_t bytes = block_bytes(F::kType);
  const auto values = static_cast<std::size_t>(block_values(F::kType));
  Ahead ahead(next);
  for (std::size_t block = 0; block < blocks; ++block) {
    ahead.ask((block + 1) * bytes * kPanelRows);
    PanelSink sink{codes + block * values / 4 * kPanelRows};
    F::Unpack(p + block * bytes, stride, factors + block * values / F::kGroup * 2 * kPanelRows, sink);
  }
}

/// The rows of a product, a few panels at a time.
template <class F>
class Product {
 public:
  explicit Product(const QuantProduct& product)
      : product_(product),
        row_bytes_(stored_bytes(F::kType, product.w.in)),
        panels_(product.tokens <= kFewTokens ? 1 : kPanels) {
    const auto panels = static_cast<std::size_t>(panels_);
    const std::size_t copied = kPanelRows * stored_bytes(F::kType, kChunk) / sizeof(float) + 1;
    factors_ = thread_scratch(panels * (Sizes::kFactors + Sizes::kCodes) + copied);
    codes_ = reinterpret_cast<std::uint32_t*>(factors_ + panels * Sizes::kFactors);
    copy_ = reinterpret_cast<std::uint8_t*>(codes_ + panels * Sizes::kCodes);
  }

  void run() {
    std::int64_t row = product_.begin;
    if constexpr (kDotsAtOnce) {
      if (product_.tokens == 1) row = run_one_token();
    }
    const std::int64_t rows = panels_ * static_cast<std::int64_t>(kPanelRows);
    for (; row < product_.end; row += rows)
      for (std::int64_t column = 0; column < product_.w.in; column += kChunk)
        multiply_chunk(row, std::min(product_.end, row + rows), column,
                       std::min(kChunk, product_.w.in - column));
  }

 private:
  using Sizes = PanelSizes<F>;

  /// Whether one token is multiplied without laying rows out: where a block is short enough for registers.
  static constexpr bool kDotsAtOnce = HWY_TARGET != HWY_SCALAR && F::kBlock == ActivationBlock::kValues;

  /// Whole panels of rows. Returns the first row left.
  std::int64_t run_one_token() {
    constexpr auto kRows = static_cast<std::int64_t>(kPanelRows);
    const ActivationBlock* x = product_.x->row(product_.gather == nullptr ? 0 : *product_.gather);
    const auto blocks = static_cast<std::size_t>(product_.w.in / F::kBlock);
    std::int64_t row = product_.begin;
    const auto* p =
        static_cast<const std::uint8_t*>(product_.w.data) + static_cast<std::size_t>(row) * row_bytes_;
    for (; row + kRows <= product_.end; row += kRows, p += kPanelRows * row_bytes_) {
      const std::uint8_t* next = row + 2 * kRows <= product_.w.out ? p + kPanelRows * row_bytes_ : nullptr;
      hn::StoreU(DotPanel<F>(p, row_bytes_, blocks, x, next), DF(), product_.y + (row - product_.begin));
    }
    return row;
  }

  void multiply_chunk(std::int64_t begin, std::int64_t end, std::int64_t column, std::int64_t columns) {
    constexpr auto kRows = static_cast<std::int64_t>(kPanelRows);
    for (std::int64_t row = begin; row < end; row += kRows)
      unpack(row, std::min(end, row + kRows), column, columns,
             static_cast<std::size_t>((row - begin) / kRows));
    std::int64_t token = 0;
    const auto take = [&]<int kTokens>() HWY_ATTR {
      for (; token + kTokens <= product_.tokens; token += kTokens)
        multiply_tile<kTokens>(token, begin, end, column, columns);
    };
    take.template operator()<kMostTokens>();
    if constexpr (kMostTokens > 4) take.template operator()<4>();
    take.template operator()<2>();
    take.template operator()<1>();
  }

  void unpack(std::int64_t row, std::int64_t end, std::int64_t column, std::int64_t columns,
              std::size_t panel) {
    const std::size_t skipped = stored_bytes(F::kType, column);
    const auto* p = static_cast<const std::uint8_t*>(product_.w.data) +
                    static_cast<std::size_t>(row) * row_bytes_ + skipped;
    const auto blocks = static_cast<std::size_t>(columns / block_values(F::kType));
    std::size_t stride = row_bytes_;
    const std::uint8_t* next = nullptr;
    const auto rows = static_cast<std::size_t>(end - row);
    if (rows < kPanelRows) {
      // The missing rows are zeros.
      stride = stored_bytes(F::kType, columns);
      std::memset(copy_, 0, kPanelRows * stride);
      for (std::size_t r = 0; r < rows; ++r) std::memcpy(copy_ + r * stride, p + r * row_bytes_, stride);
      p = copy_;
    } else if (row + 2 * static_cast<std::int64_t>(kPanelRows) <= product_.w.out) {
      next = static_cast<const std::uint8_t*>(product_.w.data) +
             (static_cast<std::size_t>(row) + kPanelRows) * row_bytes_ + kPanelRows * skipped;
    }
    UnpackPanel<F>(p, stride, blocks, codes_ + panel * Sizes::kCodes, factors_ + panel * Sizes::kFactors,
                   next);
  }

  template <int kTokens>
  void multiply_tile(std::int64_t token, std::int64_t begin, std::int64_t end, std::int64_t column,
                     std::int64_t columns) {
    Tile<kTokens> tile;
    for (int t = 0; t < kTokens; ++t) {
      const std::int64_t index = token + t;
      tile.x[t] = product_.x->row(product_.gather == nullptr ? index : product_.gather[index]) +
                  column / ActivationBlock::kValues;
      tile.y[t] = product_.y + index * product_.y_stride + (begin - product_.begin);
    }
    std::size_t panel = 0;
    for (std::int64_t row = begin; row < end; row += static_cast<std::int64_t>(kPanelRows), ++panel) {
      const std::size_t rows = std::min(kPanelRows, static_cast<std::size_t>(end - row));
      MultiplyPanel<F, kTokens>(codes_ + panel * Sizes::kCodes, factors_ + panel * Sizes::kFactors,
                                static_cast<std::size_t>(columns / ActivationBlock::kValues), tile,
                                column > 0, rows);
      for (float*& y : tile.y) y += kPanelRows;
    }
  }

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  static constexpr int kMostTokens = 8;
#else
  static constexpr int kMostTokens = 6;
#endif

  const QuantProduct& product_;
  std::size_t row_bytes_;
  std::int64_t panels_;   // laid out together
  float* factors_;        // [panels, Sizes::kFactors]
  std::uint32_t* codes_;  // [panels, Sizes::kCodes]
  std::uint8_t* copy_;    // of the last rows, where a panel has fewer
};

void Multiply(const QuantProduct& product) {
  switch (product.w.dtype) {
    case DType::q4_0:
      return Product<FormatQ4_0>(product).run();
    case DType::q4_1:
      return Product<FormatQ4_1>(product).run();
    case DType::q5_0:
      return Product<FormatQ5_0>(product).run();
    case DType::q5_1:
      return Product<FormatQ5_1>(product).run();
    case DType::q8_0:
      return Product<FormatQ8_0>(product).run();
    case DType::iq4_nl:
      return Product<FormatIQ4_NL>(product).run();
    case DType::q2_k:
      return Product<FormatQ2_K>(product).run();
    case DType::q3_k:
      return Product<FormatQ3_K>(product).run();
    case DType::q4_k:
      return Product<FormatQ4_K>(product).run();
    case DType::q5_k:
      return Product<FormatQ5_K>(product).run();
    case DType::q6_k:
      return Product<FormatQ6_K>(product).run();
    case DType::iq4_xs:
      return Product<FormatIQ4_XS>(product).run();
    default:
      fail("weights of {} are no blocks of codes", dtype_name(product.w.dtype));
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(Multiply);

}  // namespace

void quant_product(const QuantProduct& product) {
  if (product.tokens > 0) HWY_DYNAMIC_DISPATCH(Multiply)(product);
}

std::int64_t quant_item_rows(const WeightMatrix& w, std::int64_t tokens) {
  // Whole groups of panels of every instruction set where they are laid out together; else a run of weights
  // that is long enough for the memory system to stream.
  constexpr std::int64_t kRows = 64;
  constexpr std::int64_t kPanelRows = 16;
  constexpr std::int64_t kStreamedBytes = std::int64_t{64} << 10U;
  constexpr std::int64_t kFew = 16;
  if (tokens > kFew) return kRows;
  const auto row_bytes = static_cast<std::int64_t>(stored_bytes(w.dtype, std::max<std::int64_t>(1, w.in)));
  return std::max(kPanelRows,
                  kStreamedBytes / std::max<std::int64_t>(1, row_bytes) / kPanelRows * kPanelRows);
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
