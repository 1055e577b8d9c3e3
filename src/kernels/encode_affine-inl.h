// Encoders of types with a scale and a min: value ≈ scale × q + offset, q from 0 to Top. In Highway's
// per-target form (see kernels/simd_math-inl.h).

#if defined(FATHOM_KERNELS_ENCODE_AFFINE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_ENCODE_AFFINE_INL_H_
#undef FATHOM_KERNELS_ENCODE_AFFINE_INL_H_
#else
#define FATHOM_KERNELS_ENCODE_AFFINE_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "kernels/encode_groups-inl.h"
#include "kernels/encode_scales-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// What does not depend on the codes.
template <std::size_t N>
struct ValueSums {
  V8 w, x;  // Σ w, Σ w x

  HWY_INLINE ValueSums(D8 d, const Group<N>& group, std::size_t part) : w(hn::Zero(d)), x(hn::Zero(d)) {
    for (std::size_t i = 0; i < N; ++i) {
      const V8 weight = hn::Load(d, group.w[i] + part);
      w = hn::Add(w, weight);
      x = hn::MulAdd(weight, hn::Load(d, group.x[i] + part), x);
    }
  }
};

struct CodeSums {
  V8 q, qq, xq;  // Σ w q, Σ w q², Σ w x q
};

/// Sums of the codes nearest to (x - offset) × inverse.
template <int Top, std::size_t N>
HWY_INLINE CodeSums SumCodes(D8 d, const Group<N>& group, std::size_t part, V8 inverse, V8 offset) {
  CodeSums sums{hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (std::size_t i = 0; i < N; ++i) {
    const V8 x = hn::Load(d, group.x[i] + part);
    const V8 q = IntegerGrid<Top + 1, 0>::Nearest(d, hn::Mul(hn::Sub(x, offset), inverse));
    const V8 weighted = hn::Mul(hn::Load(d, group.w[i] + part), q);
    sums.q = hn::Add(sums.q, weighted);
    sums.qq = hn::MulAdd(weighted, q, sums.qq);
    sums.xq = hn::MulAdd(weighted, x, sums.xq);
  }
  return sums;
}

/// The best real scale and offset of each lane: both ends of the codes are put at the extreme values or
/// inside them, in all pairs of a few steps, then scale, offset and codes are fitted to each other.
/// @tparam Below  offsets may not be above zero, as where a min without a sign is subtracted
template <int Top, bool Below, std::size_t N>
void FitAffine(const Group<N>& group, Lane8& scales, Lane8& offsets) {
  // The fewer the codes, the more it pays to clip; the outermost code is worth 1 / Top of the range.
  constexpr int kSteps = Top <= 3 ? 8 : 6;
  constexpr float kStep = Top <= 3 ? 0.05F : 0.35F / Top;
  constexpr int kRefinements = 3;
  const D8 d;
  const V8 zero = hn::Zero(d);
  for (std::size_t part = 0; part < kGroup; part += hn::Lanes(d)) {
    V8 low = hn::Load(d, group.x[0] + part);
    V8 high = low;
    for (std::size_t i = 1; i < N; ++i) {
      const V8 x = hn::Load(d, group.x[i] + part);
      low = hn::Min(low, x);
      high = hn::Max(high, x);
    }
    if (Below) low = hn::Min(low, zero);
    const ValueSums<N> values(d, group, part);
    // A constant lane is all offset, or under `Below` may need a scale: low is then zero and the range is
    // not.
    V8 best_scale = zero;
    V8 best_offset = hn::Div(values.x, values.w);
    if (Below) best_offset = hn::Min(best_offset, zero);
    // Σw(x - offset)² is less than Σwx² by offset (2 Σwx - offset Σw).
    V8 best_gain = hn::Mul(best_offset, hn::NegMulAdd(best_offset, values.w, hn::Add(values.x, values.x)));
    const auto consider = [&](V8 inverse, V8 offset) HWY_ATTR {
      const CodeSums sums = SumCodes<Top>(d, group, part, inverse, offset);
      const V8 determinant = hn::NegMulAdd(sums.q, sums.q, hn::Mul(values.w, sums.qq));
      const auto solvable = hn::Gt(determinant, hn::Mul(hn::Mul(values.w, sums.qq), hn::Set(d, 1e-6F)));
      const V8 over = hn::IfThenElseZero(solvable, InverseOrZero(d, determinant));
      V8 scale = hn::Mul(hn::NegMulAdd(values.x, sums.q, hn::Mul(values.w, sums.xq)), over);
      V8 new_offset = hn::Mul(hn::NegMulAdd(sums.q, sums.xq, hn::Mul(sums.qq, values.x)), over);
      if (Below) {
        const auto above = hn::Or(hn::Gt(new_offset, zero), hn::Not(solvable));
        new_offset = hn::IfThenElse(above, zero, new_offset);
        scale = hn::IfThenElse(above, hn::Mul(sums.xq, InverseOrZero(d, sums.qq)), scale);
      }
      const V8 gain = hn::MulAdd(scale, sums.xq, hn::Mul(new_offset, values.x));
      const auto better = hn::Gt(gain, best_gain);
      best_gain = hn::IfThenElse(better, gain, best_gain);
      best_scale = hn::IfThenElse(better, scale, best_scale);
      best_offset = hn::IfThenElse(better, new_offset, best_offset);
    };
    const V8 range = hn::Sub(high, low);
    for (int below = -1; below <= kSteps; ++below) {
      for (int above = -1; above <= kSteps; ++above) {
        const float inside_low = kStep * static_cast<float>(below);
        const float inside_high = kStep * static_cast<float>(above);
        const V8 scale = hn::Mul(range, hn::Set(d, (1.0F - inside_low - inside_high) / Top));
        consider(InverseOrZero(d, scale), hn::MulAdd(range, hn::Set(d, inside_low), low));
      }
    }
    for (int i = 0; i < kRefinements; ++i) consider(InverseOrZero(d, best_scale), best_offset);
    hn::StoreU(best_scale, d, scales.data() + part);
    hn::StoreU(best_offset, d, offsets.data() + part);
  }
}

/// Sub-blocks of a block of 256 with scales and mins that are integers, 0 to Limit, times an F16 each:
/// value ≈ d scale q - dmin min.
template <int Top, std::size_t N, int Limit>
struct AffineBlock {
  static constexpr std::size_t kGroups = 256 / N / kGroup;
  using Groups = std::array<Group<N>, kGroups>;
  using Integers = std::array<std::array<float, kGroup>, kGroups>;

  float d = 0.0F;  // as the F16s have them
  float dmin = 0.0F;
  Integers scales{};
  Integers mins{};

  void Encode(const Groups& groups) {
    std::array<Lane8, kGroups> real_scales;
    std::array<Lane8, kGroups> real_offsets;
    float largest_scale = 0.0F;
    float largest_min = 0.0F;
    for (std::size_t g = 0; g < kGroups; ++g) {
      FitAffine<Top, true>(groups[g], real_scales[g], real_offsets[g]);
      for (std::size_t lane = 0; lane < kGroup; ++lane) {
        largest_scale = std::max(largest_scale, real_scales[g][lane]);
        largest_min = std::max(largest_min, -real_offsets[g][lane]);
      }
    }
    double most = 0.0;
    for (int start = 0; start < kStarts; ++start) {
      const float reach = static_cast<float>(Limit) - static_cast<float>(start) * kStartStep;
      AffineBlock trial;
      trial.d = largest_scale / reach;
      trial.dmin = largest_min / reach;
      for (std::size_t g = 0; g < kGroups; ++g) {
        for (std::size_t lane = 0; lane < kGroup; ++lane) {
          trial.scales[g][lane] = Clamped(real_scales[g][lane], trial.d);
          trial.mins[g][lane] = Clamped(-real_offsets[g][lane], trial.dmin);
        }
      }
      for (int round = 0; round < kRounds; ++round) {
        const double gain = trial.Improve(groups);
        if (gain > most) {
          most = gain;
          d = trial.used_d_;
          dmin = trial.used_dmin_;
          scales = trial.scales;
          mins = trial.mins;
        }
      }
    }
  }

 private:
  static constexpr int kStarts = Limit < 16 ? 4 : 2;
  static constexpr float kStartStep = Limit < 16 ? 1.0F : 2.5F;
  static constexpr int kRounds = Limit < 16 ? 4 : 3;

  static float Clamped(float value, float unit) {
    return unit > 0.0F ? std::clamp(std::nearbyint(value / unit), 0.0F, static_cast<float>(Limit)) : 0.0F;
  }

  /// Chooses each scale anew among its neighbours, each with the best min, for codes chosen anew; then `d`
  /// and `dmin` for those codes, which the next round uses. Returns what is taken from the error Σwx² under
  /// `used_d_` and `used_dmin_`.
  double Improve(const Groups& groups) {
    const D8 tag;
    used_d_ = AsF16(d);
    used_dmin_ = AsF16(dmin);
    const V8 limit = hn::Set(tag, static_cast<float>(Limit));
    const V8 zero = hn::Zero(tag);
    double gain = 0.0;
    double ss = 0.0;  // the normal equations of d and dmin: Σ scale² Σwq², and so on
    double sm = 0.0;
    double mm = 0.0;
    double xs = 0.0;
    double xm = 0.0;
    for (std::size_t g = 0; g < kGroups; ++g) {
      Lane8 gains, q, qq, xq, w, x;
      for (std::size_t part = 0; part < kGroup; part += hn::Lanes(tag)) {
        const ValueSums<N> values(tag, groups[g], part);
        const V8 from_scale = hn::LoadU(tag, scales[g].data() + part);
        const V8 from_min = hn::LoadU(tag, mins[g].data() + part);
        const V8 unit = hn::Set(tag, used_d_);
        const V8 min_unit = hn::Set(tag, used_dmin_);
        const V8 min_inverse = InverseOrZero(tag, hn::Mul(min_unit, values.w));
        V8 best_gain = hn::Set(tag, -1e30F);
        V8 best_scale = from_scale;
        V8 best_min = from_min;
        CodeSums best{zero, zero, zero};
        const auto consider = [&](V8 integer, V8 min_integer) HWY_ATTR {
          const V8 scale = hn::Mul(integer, unit);
          const V8 min = hn::Mul(min_integer, min_unit);
          const CodeSums sums = SumCodes<Top>(tag, groups[g], part, InverseOrZero(tag, scale), hn::Neg(min));
          // Σwx² - Σw(x - s q + m)² = s (2 Σwxq - s Σwq² + 2 m Σwq) - m (2 Σwx + m Σw)
          const V8 inner =
              hn::MulAdd(hn::Add(min, min), sums.q, hn::NegMulAdd(scale, sums.qq, hn::Add(sums.xq, sums.xq)));
          const V8 outer = hn::MulAdd(min, values.w, hn::Add(values.x, values.x));
          const V8 this_gain = hn::NegMulAdd(min, outer, hn::Mul(scale, inner));
          const auto better = hn::Gt(this_gain, best_gain);
          best_gain = hn::IfThenElse(better, this_gain, best_gain);
          best_scale = hn::IfThenElse(better, integer, best_scale);
          best_min = hn::IfThenElse(better, min_integer, best_min);
          best.q = hn::IfThenElse(better, sums.q, best.q);
          best.qq = hn::IfThenElse(better, sums.qq, best.qq);
          best.xq = hn::IfThenElse(better, sums.xq, best.xq);
          // The best min under these codes.
          const V8 real_min = hn::Mul(hn::NegMulAdd(scale, sums.q, values.x), hn::Neg(min_inverse));
          return hn::Min(hn::Max(hn::Round(real_min), zero), limit);
        };
        for (const float change : {0.0F, -1.0F, 1.0F}) {
          const V8 integer = hn::Min(hn::Max(hn::Add(from_scale, hn::Set(tag, change)), zero), limit);
          const V8 min_integer = consider(integer, from_min);
          consider(integer, min_integer);
        }
        hn::StoreU(best_scale, tag, scales[g].data() + part);
        hn::StoreU(best_min, tag, mins[g].data() + part);
        hn::StoreU(best_gain, tag, gains.data() + part);
        hn::StoreU(best.q, tag, q.data() + part);
        hn::StoreU(best.qq, tag, qq.data() + part);
        hn::StoreU(best.xq, tag, xq.data() + part);
        hn::StoreU(values.w, tag, w.data() + part);
        hn::StoreU(values.x, tag, x.data() + part);
      }
      for (std::size_t lane = 0; lane < kGroup; ++lane) {
        const double s = scales[g][lane];
        const double m = mins[g][lane];
        gain += gains[lane];
        ss += s * s * qq[lane];
        sm += s * m * q[lane];
        mm += m * m * w[lane];
        xs += s * xq[lane];
        xm += m * x[lane];
      }
    }
    // Least Σw(x - d s q + dmin m)²: [ss -sm; -sm mm] [d dmin] = [xs -xm].
    const double determinant = ss * mm - sm * sm;
    if (determinant > 1e-9 * ss * mm) {
      d = static_cast<float>((xs * mm - xm * sm) / determinant);
      dmin = static_cast<float>((xs * sm - xm * ss) / determinant);
    } else if (ss > 0.0) {
      d = static_cast<float>(xs / ss);
    }
    return gain;
  }

  float used_d_ = 0.0F;
  float used_dmin_ = 0.0F;
};

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_ENCODE_AFFINE_INL_H_
