// Products of quantised weights with activations, in Highway's per-target form (see kernels/simd_math-inl.h),
// for every format of kernels/quant_formats-inl.h:
//
//   Product<Format>(product).run()
//
// Weights are read a panel of rows at a time. A few tokens are multiplied with its codes as they are unpacked
// (`DotPanel`); for more the codes are laid out in memory first (`UnpackPanel`, `MultiplyPanel`).

#if defined(FATHOM_KERNELS_QUANT_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_QUANT_PRODUCT_INL_H_
#undef FATHOM_KERNELS_QUANT_PRODUCT_INL_H_
#else
#define FATHOM_KERNELS_QUANT_PRODUCT_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernels/quant_formats-inl.h"
#include "kernels/quant_linear.h"
#include "kernels/scratch.h"

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

/// Bytes of a format's block.
template <class F>
HWY_INLINE std::size_t BlockBytes() {
  if constexpr (requires { F::kBytes; }) {
    return F::kBytes;
  } else {
    return block_bytes(F::kType);
  }
}
/// Bytes of `columns` values of a row.
template <class F>
HWY_INLINE std::size_t RowBytes(std::int64_t columns) {
  return static_cast<std::size_t>(columns) / F::kBlock * BlockBytes<F>();
}

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

/// Asks for memory that is read next, a part of it at each step of what is done meanwhile.
class Ahead {
 public:
  /// For nothing.
  Ahead() = default;
  Ahead(const std::uint8_t* next, std::size_t bytes_of_step) : next_(next), bytes_of_step_(bytes_of_step) {}
  HWY_INLINE void step() {
    constexpr std::size_t kLine = 64;
    constexpr int kSecondCache = 2;
    for (wanted_ += bytes_of_step_; asked_ < wanted_; asked_ += kLine)
      __builtin_prefetch(next_ + asked_, 0, kSecondCache);
  }

 private:
  const std::uint8_t* next_ = nullptr;
  std::size_t bytes_of_step_ = 0;
  std::size_t wanted_ = 0;
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
  /// @param step_of_block  of activations; kStep is that of the group
  template <std::size_t kStep, int kAll>
  HWY_INLINE void step(VU32 w, const Tile<kAll>& tile, std::size_t block, std::size_t step_of_block) {
    others.template step<kStep>(w, tile, block, step_of_block);
    dot.template step<kStep>(w, StepOfActivation(tile.x[kTokens - 1][block], step_of_block));
  }
  template <int kAll>
  HWY_INLINE void flush(VF scale, VF offset, const Tile<kAll>& tile, std::size_t block, std::size_t part) {
    others.flush(scale, offset, tile, block, part);
    total = AddGroup<F>(total, dot.template sum<F::kGroup / 4>(), scale, offset, tile.x[kTokens - 1][block],
                        part);
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
  template <std::size_t kStep, int kAll>
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
  constexpr std::size_t kBlocksOfUnit = F::kUnit / ActivationBlock::kValues;
  const DF d;
  TileSums<F, kTokens> sums;
  sums.begin(tile, accumulate, rows);
  // Groups in the order in which `DotPanel` meets them: a result is the same with and without laying out.
  for (std::size_t unit = 0; unit < blocks; unit += kBlocksOfUnit)
    for (std::size_t part = 0; part < kParts; ++part)
      for (std::size_t block = unit; block < unit + kBlocksOfUnit; ++block) {
        const std::size_t group = block * kParts + part;
        const std::uint32_t* own = codes + group * kStepsOfPart * kPanelRows;
        ForEach<kStepsOfPart>([&](auto s) FATHOM_IN_PLACE {
          sums.template step<s>(hn::LoadU(DU32(), own + s * kPanelRows), tile, block,
                                part * kStepsOfPart + s);
        });
        const float* factor = factors + group * 2 * kPanelRows;
        sums.flush(hn::LoadU(d, factor), hn::LoadU(d, factor + kPanelRows), tile, block, part);
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

/// Multiplies a unit's steps with a few tokens as they come.
template <class F, int kTokens>
struct DotSink {
  TileSums<F, kTokens>& sums;
  const Tile<kTokens>& tile;
  std::size_t block;     // of activations where the unit begins
  const float* factors;  // of the unit

  template <std::size_t kStep>
  HWY_INLINE void step(VU32 v) {
    constexpr std::size_t kStepsOfGroup = F::kGroup / 4;
    constexpr std::size_t kBlock = kStep / kSteps;
    constexpr std::size_t kOwn = kStep / kStepsOfGroup;
    sums.template step<kStep % kStepsOfGroup>(v, tile, block + kBlock, kStep % kSteps);
    if constexpr (kStep % kStepsOfGroup == kStepsOfGroup - 1) {
      const DF d;
      const float* own = factors + 2 * kOwn * kPanelRows;
      sums.flush(hn::LoadU(d, own), hn::LoadU(d, own + kPanelRows), tile, block + kBlock, kOwn % 2);
    }
  }
};

/// A panel's whole rows times a few tokens, without laying them out. Sums of many tokens find no room in
/// registers, yet putting these few down costs less than putting all codes down.
/// @param ahead  makes a step for each block
template <class F, int kTokens>
HWY_NOINLINE void DotPanel(const std::uint8_t* p, std::size_t stride, std::size_t blocks,
                           const Tile<kTokens>& tile, Ahead ahead) {
  constexpr std::size_t kActivations = F::kUnit / ActivationBlock::kValues;
  const std::size_t bytes = BlockBytes<F>();
  HWY_ALIGN float factors[2 * F::kBlock / F::kGroup * kPanelRows];
  TileSums<F, kTokens> sums;
  sums.begin(tile, /*accumulate=*/false, kPanelRows);
  std::size_t activation = 0;
  for (std::size_t block = 0; block < blocks; ++block, p += bytes) {
    ahead.step();
    F::Factors(p, stride, factors);
#pragma GCC unroll 1
    for (std::size_t unit = 0; unit < F::kBlock / F::kUnit; ++unit, activation += kActivations) {
      DotSink<F, kTokens> sink{sums, tile, activation,
                               factors + unit * 2 * F::kUnit / F::kGroup * kPanelRows};
      F::Unit(p, stride, unit, sink);
    }
  }
  sums.store(tile, kPanelRows);
}

/// Lays out `blocks` blocks of a panel's rows.
/// @param ahead  makes a step for each block
template <class F>
HWY_NOINLINE void UnpackPanel(const std::uint8_t* p, std::size_t stride, std::size_t blocks,
                              std::uint32_t* HWY_RESTRICT codes, float* HWY_RESTRICT factors, Ahead ahead) {
  const std::size_t bytes = BlockBytes<F>();
  const auto values = F::kBlock;
  for (std::size_t block = 0; block < blocks; ++block) {
    ahead.step();
    F::Factors(p + block * bytes, stride, factors + block * values / F::kGroup * 2 * kPanelRows);
#pragma GCC unroll 1
    for (std::size_t unit = 0; unit < F::kBlock / F::kUnit; ++unit) {
      PanelSink sink{codes + (block * values + unit * F::kUnit) / 4 * kPanelRows};
      F::Unit(p + block * bytes, stride, unit, sink);
    }
  }
}

/// The rows of a product, a few panels at a time.
template <class F>
class Product {
 public:
  explicit Product(const QuantProduct& product)
      : product_(product),
        row_bytes_(RowBytes<F>(product.w.in)),
        panels_(product.tokens <= kFewTokens ? 1 : kPanels) {
    const auto panels = static_cast<std::size_t>(panels_);
    const std::size_t copied = kPanelRows * RowBytes<F>(kChunk) / sizeof(float) + 1;
    factors_ = thread_scratch(panels * (Sizes::kFactors + Sizes::kCodes) + copied);
    codes_ = reinterpret_cast<std::uint32_t*>(factors_ + panels * Sizes::kFactors);
    copy_ = reinterpret_cast<std::uint8_t*>(codes_ + panels * Sizes::kCodes);
  }

  void run() {
    std::int64_t row = product_.begin;
    if constexpr (kMostDots > 0)
      if (product_.tokens <= kMostDots)
        for (; row + kRows <= product_.end; row += kRows) dot_panel(row);
    const std::int64_t rows = panels_ * kRows;
    for (; row < product_.end; row += rows)
      for (std::int64_t column = 0; column < product_.w.in; column += kChunk)
        multiply_chunk(row, std::min(product_.end, row + rows), column,
                       std::min(kChunk, product_.w.in - column));
  }

 private:
  using Sizes = PanelSizes<F>;

  static constexpr auto kRows = static_cast<std::int64_t>(kPanelRows);
  /// Tokens that are multiplied without laying rows out. More than one are possible everywhere, and pay where
  /// vectors are wide, but each takes the compiler long.
#if HWY_TARGET == HWY_SCALAR
  static constexpr int kMostDots = 0;
#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3_DL
  static constexpr int kMostDots = F::kMostDots;
#else
  static constexpr int kMostDots = 1;
#endif

  /// Asks for what follows the panel of rows from `row` on, if that is whole.
  Ahead ahead(std::int64_t row, std::size_t skipped) const {
    if (row + 2 * kRows > product_.w.out) return {};
    const auto* rows = static_cast<const std::uint8_t*>(product_.w.data);
    return {rows + (static_cast<std::size_t>(row) + kPanelRows) * row_bytes_ + kPanelRows * skipped,
            BlockBytes<F>() * kPanelRows};
  }

  /// A whole panel of rows times all tokens.
  void dot_panel(std::int64_t row) const {
    const auto blocks = static_cast<std::size_t>(product_.w.in) / F::kBlock;
    const auto* p =
        static_cast<const std::uint8_t*>(product_.w.data) + static_cast<std::size_t>(row) * row_bytes_;
    const Ahead next = ahead(row, 0);
    // Of five and seven tokens the last is multiplied twice, which costs less than laying rows out.
    const auto take = [&]<int kTokens>() HWY_ATTR {
      DotPanel<F, kTokens>(p, row_bytes_, blocks, tile_of<kTokens>(0, row, 0), next);
    };
    if (product_.tokens == 1) return take.template operator()<1>();
    if constexpr (kMostDots >= 2)
      if (product_.tokens == 2) return take.template operator()<2>();
    if constexpr (kMostDots >= 4) {
      if (product_.tokens == 3) return take.template operator()<3>();
      if (product_.tokens == 4) return take.template operator()<4>();
    }
    if constexpr (kMostDots >= 8) {
      if (product_.tokens <= 6) return take.template operator()<6>();
      return take.template operator()<8>();
    }
  }

  /// Tokens from `token` on, the last again where they are fewer, their activations from `column` on, their
  /// results from row `begin` on.
  template <int kTokens>
  Tile<kTokens> tile_of(std::int64_t token, std::int64_t begin, std::int64_t column) const {
    Tile<kTokens> tile;
    for (int t = 0; t < kTokens; ++t) {
      const std::int64_t index = std::min(token + t, product_.tokens - 1);
      tile.x[t] = product_.x->row(product_.gather == nullptr ? index : product_.gather[index]) +
                  column / ActivationBlock::kValues;
      tile.y[t] = product_.y + index * product_.y_stride + (begin - product_.begin);
    }
    return tile;
  }

  void multiply_chunk(std::int64_t begin, std::int64_t end, std::int64_t column, std::int64_t columns) {
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
    const std::size_t skipped = RowBytes<F>(column);
    const auto* p = static_cast<const std::uint8_t*>(product_.w.data) +
                    static_cast<std::size_t>(row) * row_bytes_ + skipped;
    const auto blocks = static_cast<std::size_t>(columns) / F::kBlock;
    std::size_t stride = row_bytes_;
    const auto rows = static_cast<std::size_t>(end - row);
    if (rows < kPanelRows) {
      // The missing rows are zeros.
      stride = RowBytes<F>(columns);
      std::memset(copy_, 0, kPanelRows * stride);
      for (std::size_t r = 0; r < rows; ++r) std::memcpy(copy_ + r * stride, p + r * row_bytes_, stride);
      p = copy_;
    }
    UnpackPanel<F>(p, stride, blocks, codes_ + panel * Sizes::kCodes, factors_ + panel * Sizes::kFactors,
                   ahead(row, skipped));
  }

  template <int kTokens>
  void multiply_tile(std::int64_t token, std::int64_t begin, std::int64_t end, std::int64_t column,
                     std::int64_t columns) {
    Tile<kTokens> tile = tile_of<kTokens>(token, begin, column);
    std::size_t panel = 0;
    for (std::int64_t row = begin; row < end; row += kRows, ++panel) {
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

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_QUANT_PRODUCT_INL_H_
