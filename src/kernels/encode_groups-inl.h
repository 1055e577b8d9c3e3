// What encoders of block types work on, in Highway's per-target form (see kernels/simd_math-inl.h): groups of
// eight blocks or sub-blocks side by side, one a lane, so that a search runs for all eight at once and no sum
// crosses lanes.

#if defined(FATHOM_KERNELS_ENCODE_GROUPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_ENCODE_GROUPS_INL_H_
#undef FATHOM_KERNELS_ENCODE_GROUPS_INL_H_
#else
#define FATHOM_KERNELS_ENCODE_GROUPS_INL_H_
#endif

#include <hwy/highway.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "numerics/quant_blocks.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D8 = hn::CappedTag<float, 8>;
using V8 = hn::Vec<D8>;
using I8 = hn::RebindToSigned<D8>;

inline constexpr std::size_t kGroup = 8;
using Lane8 = std::array<float, kGroup>;

/// Eight blocks of N values, transposed, with the weights of their errors.
template <std::size_t N>
struct Group {
  alignas(64) float x[N][kGroup];
  alignas(64) float w[N][kGroup];
};

/// @param values, weights  [kGroup, N]
template <std::size_t N>
void LoadGroup(const float* values, const float* weights, Group<N>& group) {
  for (std::size_t lane = 0; lane < kGroup; ++lane) {
    for (std::size_t i = 0; i < N; ++i) {
      group.x[i][lane] = values[lane * N + i];
      group.w[i][lane] = weights[lane * N + i];
    }
  }
}

/// Codes 0 to Codes - 1 that stand for the integers from -Zero on.
template <int Codes, int Zero>
struct IntegerGrid {
  static constexpr float kLow = -Zero;
  static constexpr float kHigh = Codes - 1 - Zero;

  /// The nearest level to `v`.
  static HWY_INLINE V8 Nearest(D8 d, V8 v) {
    return hn::Min(hn::Max(hn::Round(v), hn::Set(d, kLow)), hn::Set(d, kHigh));
  }
  static HWY_INLINE V8 Code(D8 d, V8 level) { return hn::Sub(level, hn::Set(d, kLow)); }
};

/// The levels of IQ4_NL and IQ4_XS, by a table of the nearest one to each half integer: halves, for that is
/// where the middles between neighbours lie.
struct Iq4Grid {
  static constexpr float kLow = kIq4Values.front();
  static constexpr float kHigh = kIq4Values.back();

  struct Tables {
    alignas(64) std::array<float, 512> level;  // [2 (v + 128)]
    alignas(64) std::array<float, 512> code;
  };
  static constexpr Tables kTables = [] {
    Tables tables{};
    std::size_t code = 0;
    for (std::size_t i = 0; i < 512; ++i) {
      // Slot i holds v in [i / 2 - 128, i / 2 - 127.5): above the middle to the next level, the next is
      // nearer.
      while (code + 1 < kIq4Values.size() &&
             static_cast<int>(i) - 256 >= kIq4Values[code] + kIq4Values[code + 1])
        ++code;
      tables.level[i] = kIq4Values[code];
      tables.code[i] = static_cast<float>(code);
    }
    return tables;
  }();

  static HWY_INLINE hn::Vec<I8> Slot(D8 d, V8 v) {
    const V8 doubled = hn::MulAdd(v, hn::Set(d, 2.0F), hn::Set(d, 256.0F));
    return hn::ConvertTo(I8(), hn::Min(hn::Max(doubled, hn::Zero(d)), hn::Set(d, 511.0F)));
  }
  static HWY_INLINE V8 Nearest(D8 d, V8 v) { return hn::GatherIndex(d, kTables.level.data(), Slot(d, v)); }
  static HWY_INLINE V8 Code(D8 d, V8 level) {
    return hn::GatherIndex(d, kTables.code.data(), Slot(d, level));
  }
};

/// 1 / v, and 0 where v is so small that there is none.
HWY_INLINE V8 InverseOrZero(D8 d, V8 v) {
  const auto usable = hn::Gt(hn::Abs(v), hn::Set(d, 1e-30F));
  return hn::IfThenElseZero(usable, hn::Div(hn::Set(d, 1.0F), hn::IfThenElse(usable, v, hn::Set(d, 1.0F))));
}

/// Codes [kGroup, N] of the nearest levels to (x - offset) / scale.
template <class Grid, std::size_t N>
void StoreCodes(const Group<N>& group, const Lane8& scale, const Lane8& offset, std::uint8_t* codes) {
  const D8 d;
  alignas(64) float lanes[kGroup];
  for (std::size_t part = 0; part < kGroup; part += hn::Lanes(d)) {
    const V8 inverse = InverseOrZero(d, hn::LoadU(d, scale.data() + part));
    const V8 from = hn::LoadU(d, offset.data() + part);
    for (std::size_t i = 0; i < N; ++i) {
      const V8 v = hn::Mul(hn::Sub(hn::Load(d, group.x[i] + part), from), inverse);
      hn::Store(Grid::Code(d, Grid::Nearest(d, v)), d, lanes);
      for (std::size_t lane = 0; lane < hn::Lanes(d); ++lane)
        codes[(part + lane) * N + i] = static_cast<std::uint8_t>(lanes[lane]);
    }
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_ENCODE_GROUPS_INL_H_
