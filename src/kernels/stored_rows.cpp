#include "kernels/stored_rows.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <utility>
#include <vector>

#include "kernels/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/stored_rows.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/narrow-inl.h"
#include "kernels/widen-inl.h"

// Once, for all targets.
#ifndef FATHOM_KERNELS_STORED_ROWS_COMMON_
#define FATHOM_KERNELS_STORED_ROWS_COMMON_
namespace fathom::kernels {

inline constexpr std::size_t kTile = kScaleTile;
inline constexpr std::size_t kHalfTile = kTile / 2;
inline constexpr float kLargestE4M3 = F8E4M3{F8E4M3::kMaxFinite}.to_float();
inline constexpr float kLargestE5M6 = F12E5M6{F12E5M6::kMaxFinite}.to_float();

/// Columns [column, column + count) of a row, within one tile.
struct TilePart {
  const StoredRows& from;
  std::int64_t row;
  std::int64_t column;
  std::size_t count;

  [[nodiscard]] const std::byte* row_begin() const {
    return static_cast<const std::byte*>(from.data) + row * row_bytes(from.format, from.columns);
  }
  [[nodiscard]] float scale() const {
    return from.scale[row * scale_blocks(from.columns) + column / kScaleTile];
  }
};

}  // namespace fathom::kernels
#endif  // FATHOM_KERNELS_STORED_ROWS_COMMON_

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// A whole tile: the low bytes of its 128 codes, then the upper four bits of codes i and i + 64 in a byte.
HWY_INLINE void NarrowToE5M6(const float* x, float scale, std::uint8_t* bytes) {
  const DF d;
  const hn::Rebind<std::uint8_t, DF> quarter;
  const VF divisor = hn::Set(d, scale);
  for (std::size_t i = 0; i < kHalfTile; i += hn::Lanes(d)) {
    const VU32 first = SmallCodes<F12E5M6>(hn::Div(hn::LoadU(d, x + i), divisor));
    const VU32 second = SmallCodes<F12E5M6>(hn::Div(hn::LoadU(d, x + kHalfTile + i), divisor));
    const VU32 upper = hn::Or(hn::ShiftRight<8>(first), hn::ShiftLeft<4>(hn::ShiftRight<8>(second)));
    hn::StoreU(hn::TruncateTo(quarter, first), quarter, bytes + i);
    hn::StoreU(hn::TruncateTo(quarter, second), quarter, bytes + kHalfTile + i);
    hn::StoreU(hn::TruncateTo(quarter, upper), quarter, bytes + kTile + i);
  }
}

void StoreRowBf16(const float* x, std::size_t count, std::uint16_t* to) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) ToBf16::Store(d, hn::LoadU(d, x + i), to + i);
  if (i < count) ToBf16::StoreSome(d, LoadSome(d, x + i, count - i), to + i, count - i);
}

void StoreRowE4M3(const float* x, std::size_t count, TileScaling scaling, std::uint8_t* codes, float* scale) {
  for (std::size_t i = 0; i < count; i += kTile, ++scale) {
    const std::size_t n = std::min(kTile, count - i);
    *scale = tile_scale(LargestMagnitude(x + i, n), scaling, kLargestE4M3);
    NarrowToE4M3(x + i, *scale, n, codes + i);
  }
}

void StoreRowE5M6(const float* x, std::size_t count, TileScaling scaling, std::uint8_t* bytes, float* scale) {
  HWY_ALIGN float padded[kTile];
  for (std::size_t i = 0; i < count; i += kTile, ++scale, bytes += kTile + kHalfTile) {
    const std::size_t n = std::min(kTile, count - i);
    const float* tile = x + i;
    if (n < kTile) {
      std::copy_n(tile, n, padded);
      std::fill(padded + n, padded + kTile, 0.0F);
      tile = padded;
    }
    *scale = tile_scale(LargestMagnitude(tile, n), scaling, kLargestE5M6);
    NarrowToE5M6(tile, *scale, bytes);
  }
}

/// out = from · factor, exactly widened.
template <class From>
HWY_INLINE void Widen(const void* from, std::size_t count, float factor, float* out) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const auto* codes = static_cast<const typename From::Type*>(from);
  const VF scale = hn::Set(d, factor * From::kFactor);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(hn::Mul(From::Load(d, codes + i), scale), d, out + i);
  if (i < count) StoreSome(hn::Mul(From::LoadSome(d, codes + i, count - i), scale), d, out + i, count - i);
}

/// The codes of half a tile moved up by four bits are f16s, of which e5m6 is the upper part.
HWY_INLINE void HalvesOfE5M6(const std::uint8_t* tile, bool upper, std::uint16_t* halves) {
  const std::uint8_t* low = tile + (upper ? kHalfTile : 0);
  const std::uint8_t* high = tile + kTile;
  for (std::size_t i = 0; i < kHalfTile; ++i) {
    const unsigned nibble = upper ? high[i] & 0xF0U : (high[i] & 0x0FU) << 4U;
    halves[i] = static_cast<std::uint16_t>(low[i] << 4U | nibble << 8U);
  }
}

/// At most half a tile, beginning where one does.
HWY_INLINE void WidenE5M6(const TilePart& part, float* out) {
  const auto tile = part.column / kScaleTile;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(part.row_begin()) +
                      static_cast<std::size_t>(tile) * (kTile + kHalfTile);
  HWY_ALIGN std::uint16_t halves[kHalfTile];
  HalvesOfE5M6(bytes, part.column % kScaleTile != 0, halves);
  Widen<FromF16>(halves, part.count, part.scale(), out);
}

void WidenPart(const TilePart& part, float* out) {
  const std::byte* row = part.row_begin();
  switch (part.from.format) {
    case RowFormat::f32:
      std::copy_n(reinterpret_cast<const float*>(row) + part.column, part.count, out);
      break;
    case RowFormat::bf16:
      Widen<FromBf16>(row + part.column * 2, part.count, 1.0F, out);
      break;
    case RowFormat::e4m3:
      Widen<FromF8E4M3>(row + part.column, part.count, part.scale(), out);
      break;
    case RowFormat::e5m6:
      WidenE5M6(part, out);
      break;
  }
}

/// One 128×1 tile for each of half a tile's columns.
/// @param x  [rows, kHalfTile], rows <= 128; columns from `count` on are zero
void QuantizeColumns(const float* x, std::size_t rows, std::size_t count, TileScaling scaling,
                     std::uint8_t* codes, std::size_t stride, float* scale) {
  const DF d;
  const DU32 du;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < count; i += lanes) {
    VU32 most = hn::Zero(du);
    for (std::size_t r = 0; r < rows; ++r)
      most = hn::Max(most, Magnitude(hn::Load(d, x + r * kHalfTile + i)));
    HWY_ALIGN float scales[hn::MaxLanes(DF())];
    hn::Store(hn::BitCast(d, most), d, scales);
    for (std::size_t j = 0; j < lanes; ++j) scales[j] = tile_scale(scales[j], scaling, kLargestE4M3);
    const VF divisor = hn::Load(d, scales);
    const std::size_t n = std::min(lanes, count - i);
    std::copy_n(scales, n, scale + i);
    if (n == lanes) {
      for (std::size_t r = 0; r < rows; ++r)
        ToE4M3::Store(d, hn::Div(hn::Load(d, x + r * kHalfTile + i), divisor), codes + r * stride + i);
    } else {
      for (std::size_t r = 0; r < rows; ++r)
        ToE4M3::StoreSome(d, hn::Div(hn::Load(d, x + r * kHalfTile + i), divisor), codes + r * stride + i, n);
    }
  }
}

void QuantizeBlock(const float* x, std::size_t rows, std::size_t columns, std::size_t stride,
                   ScaleFormat format, std::uint8_t* codes, float* scale) {
  float amax = 0.0F;
  for (std::size_t r = 0; r < rows; ++r) {
    const float most = LargestMagnitude(x + r * stride, columns);
    // NaN stays: as integers it is above all numbers.
    if (std::bit_cast<std::uint32_t>(most) > std::bit_cast<std::uint32_t>(amax)) amax = most;
  }
  *scale = tile_scale(amax, {format, kActivationScaling.least_amax}, kLargestE4M3);
  for (std::size_t r = 0; r < rows; ++r) NarrowToE4M3(x + r * stride, *scale, columns, codes + r * stride);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(StoreRowBf16);
HWY_EXPORT(StoreRowE4M3);
HWY_EXPORT(StoreRowE5M6);
HWY_EXPORT(WidenPart);
HWY_EXPORT(QuantizeColumns);
HWY_EXPORT(QuantizeBlock);

constexpr std::int64_t kValuesPerItem = 16384;

/// Rows that a thread takes at a time.
std::size_t rows_per_item(std::int64_t columns) {
  return static_cast<std::size_t>(
      std::max<std::int64_t>(1, kValuesPerItem / std::max<std::int64_t>(1, columns)));
}

std::uint8_t* bytes_of(F8E4M3* codes) {
  static_assert(sizeof(F8E4M3) == 1);
  return &codes->bits;
}

}  // namespace

void store_rows(ThreadPool& pool, const float* x, std::int64_t rows, std::int64_t columns, RowFormat format,
                TileScaling scaling, void* data, float* scale) {
  const auto count = static_cast<std::size_t>(columns);
  const std::int64_t bytes = row_bytes(format, columns);
  const std::int64_t tiles = scale_blocks(columns);
  pool.parallel_ranges(
      static_cast<std::size_t>(rows), rows_per_item(columns), [&](std::size_t begin, std::size_t end) {
        for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
          const float* from = x + row * columns;
          std::byte* to = static_cast<std::byte*>(data) + row * bytes;
          auto* codes = reinterpret_cast<std::uint8_t*>(to);
          switch (format) {
            case RowFormat::f32:
              std::copy_n(from, count, reinterpret_cast<float*>(to));
              break;
            case RowFormat::bf16:
              HWY_DYNAMIC_DISPATCH(StoreRowBf16)(from, count, reinterpret_cast<std::uint16_t*>(to));
              break;
            case RowFormat::e4m3:
              HWY_DYNAMIC_DISPATCH(StoreRowE4M3)(from, count, scaling, codes, scale + row * tiles);
              break;
            case RowFormat::e5m6:
              HWY_DYNAMIC_DISPATCH(StoreRowE5M6)(from, count, scaling, codes, scale + row * tiles);
              break;
          }
        }
      });
}

void load_rows(ThreadPool& pool, const StoredRows& from, float* out) {
  constexpr auto kPart = static_cast<std::int64_t>(kHalfTile);
  pool.parallel_ranges(
      static_cast<std::size_t>(from.rows), rows_per_item(from.columns),
      [&](std::size_t begin, std::size_t end) {
        for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row)
          for (std::int64_t column = 0; column < from.columns; column += kPart) {
            const auto count = static_cast<std::size_t>(std::min(kPart, from.columns - column));
            HWY_DYNAMIC_DISPATCH(WidenPart)
            ({from, row, column, count}, out + row * from.columns + column);
          }
      });
}

void quantize_columns(ThreadPool& pool, const StoredRows& from, const std::int32_t* gather,
                      std::span<const std::int64_t> offsets, TileScaling scaling, F8E4M3* codes,
                      float* scale) {
  constexpr auto kPart = static_cast<std::int64_t>(kHalfTile);
  std::vector<std::pair<std::int64_t, std::int64_t>> bands;  // rows that share tiles
  for (std::size_t group = 0; group + 1 < offsets.size(); ++group)
    for (std::int64_t row = offsets[group]; row < offsets[group + 1]; row += kScaleTile)
      bands.emplace_back(row, std::min(offsets[group + 1], row + kScaleTile));
  const std::int64_t parts = (from.columns + kPart - 1) / kPart;
  pool.parallel_for(bands.size() * static_cast<std::size_t>(parts), [&](std::size_t index) {
    const std::int64_t band = static_cast<std::int64_t>(index) / parts;
    const std::int64_t column = static_cast<std::int64_t>(index) % parts * kPart;
    const auto [begin, end] = bands[static_cast<std::size_t>(band)];
    const auto count = static_cast<std::size_t>(std::min(kPart, from.columns - column));
    float* part = thread_scratch(kTile * kHalfTile);
    for (std::int64_t row = begin; row < end; ++row) {
      float* to = part + (row - begin) * kPart;
      const std::int64_t stored = gather != nullptr ? gather[row] : row;
      HWY_DYNAMIC_DISPATCH(WidenPart)({from, stored, column, count}, to);
      std::fill(to + count, to + kHalfTile, 0.0F);
    }
    HWY_DYNAMIC_DISPATCH(QuantizeColumns)
    (part, static_cast<std::size_t>(end - begin), count, scaling,
     bytes_of(codes) + begin * from.columns + column, static_cast<std::size_t>(from.columns),
     scale + band * from.columns + column);
  });
}

void quantize_blocks(ThreadPool& pool, std::span<const BlockQuantization> weights, ScaleFormat format) {
  std::vector<std::int64_t> ends;  // of each weight's blocks, counted through
  std::int64_t blocks = 0;
  for (const BlockQuantization& w : weights)
    ends.push_back(blocks += scale_blocks(w.rows) * scale_blocks(w.columns));
  pool.parallel_for(static_cast<std::size_t>(blocks), [&](std::size_t index) {
    const auto item = static_cast<std::int64_t>(index);
    const auto which = static_cast<std::size_t>(std::ranges::upper_bound(ends, item) - ends.begin());
    const BlockQuantization& w = weights[which];
    const std::int64_t block = item - (which == 0 ? 0 : ends[which - 1]);
    const std::int64_t row = block / scale_blocks(w.columns) * kScaleBlock;
    const std::int64_t column = block % scale_blocks(w.columns) * kScaleBlock;
    const std::int64_t first = row * w.columns + column;
    HWY_DYNAMIC_DISPATCH(QuantizeBlock)
    (w.values + first, static_cast<std::size_t>(std::min(kScaleBlock, w.rows - row)),
     static_cast<std::size_t>(std::min(kScaleBlock, w.columns - column)), static_cast<std::size_t>(w.columns),
     format, bytes_of(w.codes) + first, w.scale + block);
  });
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
