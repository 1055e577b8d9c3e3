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

template <class D>
HWY_INLINE hn::Vec<D> RoundedPair(D d, hn::Vec<D> first, hn::Vec<D> second) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::Or(hn::ShiftRight<16>(Rounded(d, first)),
                               hn::And(Rounded(d, second), hn::Set(du, 0xFFFF0000U))));
}

/// Elements of `count` values along k; `from` and `to` may be used a vector beyond them.
void ConvertRow(PanelElement element, const float* from, std::int64_t count, float* to) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  if (element == PanelElement::f32_rounded) {
    for (std::int64_t i = 0; i < count; i += lanes)
      hn::StoreU(RoundedF32(d, hn::LoadU(d, from + i)), d, to + i);
    return;
  }
#if HWY_TARGET == HWY_AVX3  // where pairs are multiplied
  for (std::int64_t i = 0; i < count; i += 2 * lanes) {
    const VF low = hn::LoadU(d, from + i);
    const VF high = hn::LoadU(d, from + i + lanes);
    hn::StoreU(RoundedPair(d, hn::ConcatEven(d, high, low), hn::ConcatOdd(d, high, low)), d, to + i / 2);
  }
#endif
}

const std::byte* StoredRow(const GemmOperand& operand, std::int64_t index) {
  const std::int64_t row = operand.gather != nullptr ? operand.gather[index] : index;
  return static_cast<const std::byte*>(operand.data) +
         static_cast<std::size_t>(row * operand.stride) * dtype_size(operand.dtype);
}

/// A row of the part as elements, where it lies if it lies so, else in `staged` (two rows).
const float* StagedRow(const GemmOperand& operand, const OperandPart& part, PanelElement element,
                       std::int64_t index, float* staged) {
  if (index >= part.rows) return kZeros;
  const void* from =
      StoredRow(operand, part.row + index) + static_cast<std::size_t>(part.k) * dtype_size(operand.dtype);
  if (operand.dtype == DType::f32 && element == PanelElement::f32) return static_cast<const float*>(from);
  Widen(operand.dtype, from, part.ks, staged);
  if (element == PanelElement::f32) return staged;
  std::fill_n(staged + part.ks, kSlack, 0.0F);
  ConvertRow(element, staged, part.ks, staged + kStagedRow);
  return staged + kStagedRow;
}

/// Rows that are stored along k: four at a time.
void PackRows(const GemmOperand& operand, const OperandPart& part, PanelElement element, std::int64_t width,
              float* scratch, float* to) {
  const std::int64_t elements = packed_elements(element, part.ks);
  const std::int64_t whole = elements / 4 * 4;
  const std::int64_t end = (part.rows + width - 1) / width * width;
  for (std::int64_t row = 0; row < end; row += 4) {
    const float* rows[4];
    for (std::int64_t r = 0; r < 4; ++r)
      rows[r] = StagedRow(operand, part, element, row + r, scratch + 2 * r * kStagedRow);
    float* panel = to + row / width * width * elements + row % width;
    for (std::int64_t i = 0; i < whole; i += 4)
      TransposeFour(rows[0] + i, rows[1] + i, rows[2] + i, rows[3] + i, panel + i * width, width);
    for (std::int64_t r = 0; r < 4; ++r)
      for (std::int64_t i = whole; i < elements; ++i) std::memcpy(panel + i * width + r, rows[r] + i, 4);
  }
}

/// One or two stored rows across `count` rows of a panel, as the elements of one step along k.
template <class D>
HWY_INLINE void PlaceRow(D d, PanelElement element, const float* first, const float* second,
                         std::int64_t count, std::int64_t width, float* to) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < width; i += lanes) {
    const auto load = [&](const float* from) {
      if (i + lanes <= count) return hn::LoadU(d, from + i);
      if (i >= count) return hn::Zero(d);
      return LoadSome(d, from + i, static_cast<std::size_t>(count - i));
    };
    hn::Vec<D> value = load(first);
    if (element == PanelElement::f32_rounded) value = RoundedF32(d, value);
    if (element == PanelElement::bf16_pair) value = RoundedPair(d, value, load(second));
    hn::StoreU(value, d, to + i);
  }
}

/// Rows that are stored across k: what one panel takes of every stored row.
template <class D>
void PackColumns(D d, const GemmOperand& operand, const OperandPart& part, PanelElement element,
                 std::int64_t width, float* scratch, float* to) {
  const std::int64_t elements = packed_elements(element, part.ks);
  const std::int64_t step = element == PanelElement::bf16_pair ? 2 : 1;
  for (std::int64_t row = 0; row < part.rows; row += width) {
    const std::int64_t count = std::min(width, part.rows - row);
    const auto staged = [&](std::int64_t k, float* room) {
      if (k >= part.ks) return static_cast<const float*>(kZeros);
      const void* from = StoredRow(operand, part.k + k) +
                         static_cast<std::size_t>(part.row + row) * dtype_size(operand.dtype);
      if (operand.dtype == DType::f32) return static_cast<const float*>(from);
      Widen(operand.dtype, from, count, room);
      return static_cast<const float*>(room);
    };
    for (std::int64_t i = 0; i < elements; ++i) {
      const float* first = staged(step * i, scratch);
      const float* second = step == 2 ? staged(2 * i + 1, scratch + kStagedRow) : nullptr;
      PlaceRow(d, element, first, second, count, width, to + row * elements + i * width);
    }
  }
}

void PackPanels(const GemmOperand& operand, const OperandPart& part, PanelElement element, std::int64_t width,
                float* scratch, float* to) {
  const DF d;
  if (!operand.transposed) {
    PackRows(operand, part, element, width, scratch, to);
  } else if (width % static_cast<std::int64_t>(hn::Lanes(d)) == 0) {
    PackColumns(d, operand, part, element, width, scratch, to);
  } else {
    PackColumns(hn::CappedTag<float, kStripRows>(), operand, part, element, width, scratch, to);
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
