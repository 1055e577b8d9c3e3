#include "kernels/gemm_pack.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "numerics/block_scale.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_pack.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/gemm_layout-inl.h"
#include "kernels/tile_gemm-inl.h"
#include "kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

// Values go from the stored type to f32, from there to the panel's element, and from there to their place.
// Steps in between use rows of `kStagedRow` floats.
constexpr std::int64_t kSlack = static_cast<std::int64_t>(hn::MaxLanes(DF())) * 2;
constexpr std::int64_t kStagedRow = kMostPackedK + kSlack;
static_assert(4 * 2 * kStagedRow <= static_cast<std::int64_t>(kPackScratch));

HWY_ALIGN const float kZeros[kStagedRow] = {};

constexpr std::int64_t kColumnsTogether = 32;  // two lines of f32

template <class W>
void WidenRow(const void* from, std::int64_t count, float* to) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* values = static_cast<const typename W::Type*>(from);
  const VF factor = hn::Set(d, W::kFactor);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(hn::Mul(W::Load(d, values + i), factor), d, to + i);
  if (i < count)
    hn::StoreU(hn::Mul(W::LoadSome(d, values + i, static_cast<std::size_t>(count - i)), factor), d, to + i);
}

void Widen(DType dtype, const void* from, std::int64_t count, float* to) {
  switch (dtype) {
    case DType::bf16:
      return WidenRow<FromBf16>(from, count, to);
    case DType::f16:
      return WidenRow<FromF16>(from, count, to);
    case DType::f8_e4m3:
      return WidenRow<FromF8E4M3>(from, count, to);
    default:
      return WidenRow<FromF32>(from, count, to);
  }
}

/// The bits of a value rounded to bf16 in the upper half of each lane; what the lower half holds is
/// undefined. As `Bf16::from_float`.
template <class D, class DU = hn::RebindToUnsigned<D>>
HWY_INLINE hn::Vec<DU> Rounded(D d, hn::Vec<D> value) {
  const DU du;
  const auto bits = hn::BitCast(du, value);
  const auto even = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1U));
  const auto rounded = hn::Add(bits, hn::Add(even, hn::Set(du, 0x7FFFU)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000U));
  return hn::BitCast(du, hn::IfThenElse(hn::IsNaN(value), hn::BitCast(d, quiet), hn::BitCast(d, rounded)));
}

template <class D>
HWY_INLINE hn::Vec<D> RoundedF32(D d, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::And(Rounded(d, value), hn::Set(du, 0xFFFF0000U)));
}

#if HWY_TARGET == HWY_AVX3  // where pairs are multiplied
/// `low` and then `high` as bf16. The instruction takes values below 1.2e-38 for zero, as does the one that
/// multiplies.
template <class D>
HWY_INLINE hn::Vec<D> RoundedBoth(D /* d */, hn::Vec<D> low, hn::Vec<D> high) {
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(low.raw) : "v"(low.raw), "v"(high.raw));
  return low;
}

/// Pairs of a value of `first` and one of `second`.
template <class D>
HWY_INLINE hn::Vec<D> RoundedPairs(D d, hn::Vec<D> first, hn::Vec<D> second) {
  const hn::RebindToUnsigned<D> d32;
  const hn::Repartition<std::uint16_t, D> d16;
  const hn::Half<decltype(d16)> half;
  const auto both = hn::BitCast(d16, RoundedBoth(d, first, second));
  const auto low = hn::PromoteTo(d32, hn::LowerHalf(half, both));
  const auto high = hn::PromoteTo(d32, hn::UpperHalf(half, both));
  return hn::BitCast(d, hn::Or(low, hn::ShiftLeft<16>(high)));
}
#endif

/// Elements of `count` values along k.
void ConvertRow(PanelElement element, const float* from, std::int64_t count, float* to) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  const auto load = [&](std::int64_t begin) {
    if (begin + lanes <= count) return hn::LoadU(d, from + begin);
    return begin < count ? LoadSome(d, from + begin, static_cast<std::size_t>(count - begin)) : hn::Zero(d);
  };
  if (element == PanelElement::f32_rounded) {
    for (; i < count; i += lanes) hn::StoreU(RoundedF32(d, load(i)), d, to + i);
    return;
  }
#if HWY_TARGET == HWY_AVX3
  for (; i + 2 * lanes <= count; i += 2 * lanes)
    hn::StoreU(RoundedBoth(d, hn::LoadU(d, from + i), hn::LoadU(d, from + i + lanes)), d, to + i / 2);
  if (i < count) hn::StoreU(RoundedBoth(d, load(i), load(i + lanes)), d, to + i / 2);
#endif
}

/// A row of the part as elements, where it lies if it lies so, else in `staged` (two rows).
const float* StagedRow(const StoredPart& source, PanelElement element, std::int64_t index, float* staged) {
  if (index >= source.outer()) return kZeros;
  const std::byte* from = source.row(index);
  const std::int64_t count = source.inner();
  const bool is_pairs = source.dtype() == DType::bf16 && element == PanelElement::bf16_pair && count % 2 == 0;
  const auto* values = reinterpret_cast<const float*>(from);
  if (source.dtype() != DType::f32 && !is_pairs) {
    Widen(source.dtype(), from, count, staged);
    values = staged;
  }
  if (is_pairs || element == PanelElement::f32) return values;
  ConvertRow(element, values, count, staged + kStagedRow);
  return staged + kStagedRow;
}

/// Rows that are stored along k: four at a time.
void PackRows(const StoredPart& source, PanelElement element, std::int64_t width, float* scratch, float* to) {
  const std::int64_t elements = packed_elements(element, source.inner());
  const std::int64_t whole = elements / 4 * 4;
  const std::int64_t end = (source.outer() + width - 1) / width * width;
  for (std::int64_t row = 0; row < end; row += 4) {
    const float* rows[4];
    for (std::int64_t r = 0; r < 4; ++r) {
      rows[r] = StagedRow(source, element, row + r, scratch + 2 * r * kStagedRow);
    }
    float* panel = to + row / width * width * elements + row % width;
    for (std::int64_t i = 0; i < whole; i += 4)
      TransposeFour(rows[0] + i, rows[1] + i, rows[2] + i, rows[3] + i, panel + i * width, width);
    for (std::int64_t r = 0; r < 4; ++r)
      for (std::int64_t i = whole; i < elements; ++i) std::memcpy(panel + i * width + r, rows[r] + i, 4);
  }
}

/// What one step along k puts into a panel: `count` values of one stored row, or of two for pairs.
template <PanelElement kElement, class D>
HWY_INLINE void PlaceRow(D d, const float* first, const float* second, std::int64_t count, std::int64_t width,
                         float* to) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto place = [&](hn::Vec<D> value, [[maybe_unused]] hn::Vec<D> neighbour, std::int64_t i) {
    if constexpr (kElement == PanelElement::f32_rounded) value = RoundedF32(d, value);
    if constexpr (kElement == PanelElement::bf16_pair) value = RoundedPairs(d, value, neighbour);
    hn::StoreU(value, d, to + i);
  };
  if (count >= width) {
    for (std::int64_t i = 0; i < width; i += lanes)
      place(hn::LoadU(d, first + i), hn::LoadU(d, second + i), i);
    return;
  }
  const auto load = [&](const float* from, std::int64_t i) {
    const auto some = static_cast<std::size_t>(std::clamp<std::int64_t>(count - i, 0, lanes));
    return LoadSome(d, from + i, some);
  };
  for (std::int64_t i = 0; i < width; i += lanes) place(load(first, i), load(second, i), i);
}

/// Rows that are stored across k: what a few panels take of every stored row.
template <PanelElement kElement, class D>
void PackColumns(D d, const StoredPart& source, std::int64_t width, float* scratch, float* to) {
  constexpr std::int64_t kStep = kElement == PanelElement::bf16_pair ? 2 : 1;
  // Strips lie some 4 KiB from one another, in the same few places of the nearest cache: a line of one is
  // filled before the next one's turn comes.
  constexpr std::int64_t kSteps = 4;
  const std::int64_t elements = packed_elements(kElement, source.outer());
  const std::int64_t together = std::max<std::int64_t>(1, kColumnsTogether / width) * width;
  for (std::int64_t begin = 0; begin < source.inner(); begin += together) {
    const std::int64_t columns = std::min(together, source.inner() - begin);
    const auto staged = [&](std::int64_t k, float* room) -> const float* {
      if (k >= source.outer()) return kZeros;
      const std::byte* from = source.row(k, begin);
      if (source.dtype() == DType::f32) return reinterpret_cast<const float*>(from);
      Widen(source.dtype(), from, columns, room);
      return room;
    };
    for (std::int64_t i = 0; i < elements; i += kSteps) {
      const std::int64_t steps = std::min(kSteps, elements - i);
      const float* rows[kSteps * kStep];
      for (std::int64_t k = 0; k < steps * kStep; ++k)
        rows[k] = staged(kStep * i + k, scratch + k * kStagedRow);
      for (std::int64_t panel = 0; panel < columns; panel += width)
        for (std::int64_t k = 0; k < steps; ++k)
          PlaceRow<kElement>(d, rows[kStep * k] + panel, rows[kStep * (k + 1) - 1] + panel, columns - panel,
                             width, to + (begin + panel) * elements + (i + k) * width);
    }
  }
}

template <class D>
void PackColumnsAs(D d, const StoredPart& source, PanelElement element, std::int64_t width, float* scratch,
                   float* to) {
  switch (element) {
    case PanelElement::f32:
      return PackColumns<PanelElement::f32>(d, source, width, scratch, to);
    case PanelElement::f32_rounded:
      return PackColumns<PanelElement::f32_rounded>(d, source, width, scratch, to);
    case PanelElement::bf16_pair:
#if HWY_TARGET == HWY_AVX3  // where pairs are multiplied
      return PackColumns<PanelElement::bf16_pair>(d, source, width, scratch, to);
#endif
      break;
  }
}

void PackPanels(const GemmOperand& operand, const OperandPart& part, PanelElement element, std::int64_t width,
                float* scratch, float* to) {
  const DF d;
  const StoredPart source(operand, part);
  if (!operand.transposed) {
    PackRows(source, element, width, scratch, to);
  } else if (width % static_cast<std::int64_t>(hn::Lanes(d)) == 0) {
    PackColumnsAs(d, source, element, width, scratch, to);
  } else {
    PackColumnsAs(hn::CappedTag<float, kStripRows>(), source, element, width, scratch, to);
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(PackPanels);

}  // namespace

void pack_panels(const GemmOperand& operand, const OperandPart& part, PanelElement element,
                 std::int64_t width, float* scratch, float* to) {
  HWY_DYNAMIC_DISPATCH(PackPanels)(operand, part, element, width, scratch, to);
}

void pack_scales(const GemmOperand& operand, std::int64_t row, std::int64_t rows, std::int64_t k,
                 float* factors) {
  if (operand.scale == nullptr) {
    std::fill_n(factors, rows, 1.0F);
    return;
  }
  const float* scale = operand.scale + k / kScaleBlock * operand.scale_k_stride;
  const bool gathered = operand.gather != nullptr && !operand.transposed;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t stored = gathered ? operand.gather[row + r] : row + r;
    factors[r] = scale[stored / operand.scale_rows * operand.scale_row_stride];
  }
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
