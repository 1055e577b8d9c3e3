// Encoders of types with a scale alone: value ≈ scale × level. In Highway's per-target form (see
// kernels/simd_math-inl.h).
//
// Under given levels l, the best scale is Σwxl / Σwl², which takes (Σwxl)² / Σwl² from the error Σwx²: the
// larger that gain, the better the levels.

#if defined(FATHOM_KERNELS_ENCODE_SCALES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_ENCODE_SCALES_INL_H_
#undef FATHOM_KERNELS_ENCODE_SCALES_INL_H_
#else
#define FATHOM_KERNELS_ENCODE_SCALES_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "kernels/encode_groups-inl.h"
#include "numerics/small_float.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

struct ScaleSums {
  V8 xl;  // Σ w x l
  V8 ll;  // Σ w l²
};

/// Sums of the levels nearest to x × inverse.
template <class Grid, std::size_t N>
HWY_INLINE ScaleSums SumLevels(D8 d, const Group<N>& group, std::size_t part, V8 inverse) {
  ScaleSums sums{hn::Zero(d), hn::Zero(d)};
  for (std::size_t i = 0; i < N; ++i) {
    const V8 x = hn::Load(d, group.x[i] + part);
    const V8 level = Grid::Nearest(d, hn::Mul(x, inverse));
    const V8 weighted = hn::Mul(hn::Load(d, group.w[i] + part), level);
    sums.xl = hn::MulAdd(weighted, x, sums.xl);
    sums.ll = hn::MulAdd(weighted, level, sums.ll);
  }
  return sums;
}

/// The best real scale of each lane: the value of largest magnitude is put at either end of the levels and up
/// to a quarter inside or outside it, then scale and levels are fitted to each other.
template <class Grid, std::size_t N>
void FitScales(const Group<N>& group, Lane8& scales) {
  constexpr int kSteps = 12;  // to each side
  constexpr int kRefinements = 3;
  const D8 d;
  for (std::size_t part = 0; part < kGroup; part += hn::Lanes(d)) {
    V8 largest = hn::Zero(d);  // signed
    for (std::size_t i = 0; i < N; ++i) {
      const V8 x = hn::Load(d, group.x[i] + part);
      largest = hn::IfThenElse(hn::Gt(hn::Abs(x), hn::Abs(largest)), x, largest);
    }
    const V8 unit = InverseOrZero(d, largest);
    V8 best_gain = hn::Zero(d);
    V8 best = hn::Zero(d);
    const auto consider = [&](V8 inverse) HWY_ATTR {
      const ScaleSums sums = SumLevels<Grid>(d, group, part, inverse);
      const V8 scale = hn::Mul(sums.xl, InverseOrZero(d, sums.ll));
      const V8 gain = hn::Mul(scale, sums.xl);
      const auto better = hn::Gt(gain, best_gain);
      best_gain = hn::IfThenElse(better, gain, best_gain);
      best = hn::IfThenElse(better, scale, best);
    };
    for (const float end : {Grid::kLow, Grid::kHigh}) {
      // In steps of a few hundredths of the whole range, or of a sixth of a level where levels are few.
      const float step = std::max(std::abs(end) / 48.0F, 0.15F);
      for (int i = -kSteps; i <= kSteps; ++i) {
        const float reach = end + std::copysign(step * static_cast<float>(i), end);
        if (reach * end > 0.0F) consider(hn::Mul(unit, hn::Set(d, reach)));
      }
    }
    for (int i = 0; i < kRefinements; ++i) consider(InverseOrZero(d, best));
    hn::StoreU(best, d, scales.data() + part);
  }
}

inline float AsF16(float value) {
  return F16::from_float(value).to_float();
}

/// Sub-blocks of a block of 256 with scales that are integers, -Limit to Limit - 1, times one F16.
template <class Grid, std::size_t N, int Limit>
struct ScaledBlock {
  static constexpr std::size_t kGroups = 256 / N / kGroup;

  float d = 0.0F;  // as the F16 has it
  std::array<std::array<float, kGroup>, kGroups> integers{};

  void Encode(const std::array<Group<N>, kGroups>& groups) {
    std::array<Lane8, kGroups> scales;
    float largest = 0.0F;
    for (std::size_t g = 0; g < kGroups; ++g) {
      FitScales<Grid>(groups[g], scales[g]);
      for (const float scale : scales[g])
        if (std::abs(scale) > std::abs(largest)) largest = scale;
    }
    // The largest scale at the end of the integers, or a little inside: the others may then fit better.
    double least = 0.0;
    for (int start = 0; start < kStarts; ++start) {
      const float reach = static_cast<float>(Limit) - static_cast<float>(start) * kStartStep;
      ScaledBlock trial;
      trial.d = largest / -reach;
      for (std::size_t g = 0; g < kGroups; ++g)
        for (std::size_t lane = 0; lane < kGroup; ++lane)
          trial.integers[g][lane] = Clamped(trial.d != 0.0F ? scales[g][lane] / trial.d : 0.0F);
      for (int round = 0; round < kRounds; ++round) {
        const double gain = trial.Improve(groups);
        if (gain > least) {
          least = gain;
          d = trial.used_d_;
          integers = trial.integers;
        }
      }
    }
  }

 private:
  static constexpr int kStarts = 4;
  static constexpr float kStartStep = Limit / 24.0F;
  static constexpr int kRounds = 3;

  static float Clamped(float value) {
    return std::clamp(std::nearbyint(value), static_cast<float>(-Limit), static_cast<float>(Limit - 1));
  }

  /// Chooses each integer anew among its neighbours, for levels chosen anew; then `d` for those levels, which
  /// the next round uses. Returns what is taken from the error Σwx² under `used_d_`.
  double Improve(const std::array<Group<N>, kGroups>& groups) {
    const D8 tag;
    used_d_ = AsF16(d);
    double gain = 0.0;
    double xl = 0.0;
    double ll = 0.0;
    for (std::size_t g = 0; g < kGroups; ++g) {
      Lane8 gains{};
      Lane8 lane_xl{};
      Lane8 lane_ll{};
      for (std::size_t part = 0; part < kGroup; part += hn::Lanes(tag)) {
        const V8 from = hn::LoadU(tag, integers[g].data() + part);
        V8 best_gain = hn::Set(tag, -1e30F);
        V8 best = from;
        ScaleSums best_sums{hn::Zero(tag), hn::Zero(tag)};
        for (const float change : {0.0F, -1.0F, 1.0F}) {
          const V8 integer =
              hn::Min(hn::Max(hn::Add(from, hn::Set(tag, change)), hn::Set(tag, static_cast<float>(-Limit))),
                      hn::Set(tag, static_cast<float>(Limit - 1)));
          const V8 scale = hn::Mul(integer, hn::Set(tag, used_d_));
          const ScaleSums sums = SumLevels<Grid>(tag, groups[g], part, InverseOrZero(tag, scale));
          // Σwx² - Σw(x - scale l)² = scale (2 Σwxl - scale Σwl²)
          const V8 this_gain = hn::Mul(scale, hn::NegMulAdd(scale, sums.ll, hn::Add(sums.xl, sums.xl)));
          const auto better = hn::Gt(this_gain, best_gain);
          best_gain = hn::IfThenElse(better, this_gain, best_gain);
          best = hn::IfThenElse(better, integer, best);
          best_sums.xl = hn::IfThenElse(better, sums.xl, best_sums.xl);
          best_sums.ll = hn::IfThenElse(better, sums.ll, best_sums.ll);
        }
        hn::StoreU(best, tag, integers[g].data() + part);
        hn::StoreU(best_gain, tag, gains.data() + part);
        hn::StoreU(best_sums.xl, tag, lane_xl.data() + part);
        hn::StoreU(best_sums.ll, tag, lane_ll.data() + part);
      }
      for (std::size_t lane = 0; lane < kGroup; ++lane) {
        const double integer = integers[g][lane];
        gain += gains[lane];
        xl += integer * lane_xl[lane];
        ll += integer * integer * lane_ll[lane];
      }
    }
    if (ll > 0.0) d = static_cast<float>(xl / ll);
    return gain;
  }

  float used_d_ = 0.0F;
};

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_ENCODE_SCALES_INL_H_
