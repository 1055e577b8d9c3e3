#include "kernels/muon.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "kernels/adamw.h"
#include "kernels/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/muon.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/narrow-inl.h"
#include "kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

struct Momentum {
  VF mean;
  VF ahead;
};

HWY_INLINE Momentum NextMomentum(float beta, VF gradient, VF mean) {
  const DF d;
  const VF keep = hn::Set(d, beta);
  const VF fresh = hn::Mul(hn::Set(d, 1.0F - beta), gradient);
  const VF next = hn::MulAdd(keep, mean, fresh);
  return {next, hn::MulAdd(keep, next, fresh)};
}

/// @tparam From, To  how the momentum is read and stored
template <class From, class To>
HWY_INLINE void MomentumOfAll(float beta, float scale, std::size_t count, float* gradient,
                              typename To::Type* momentum, float* out) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF factor = hn::Set(d, scale);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const Momentum m =
        NextMomentum(beta, hn::Mul(factor, hn::LoadU(d, gradient + i)), From::Load(d, momentum + i));
    To::Store(d, m.mean, momentum + i);
    hn::StoreU(m.ahead, d, out + i);
    hn::StoreU(hn::Zero(d), d, gradient + i);
  }
  if (i < count) {
    const std::size_t n = count - i;
    const Momentum m =
        NextMomentum(beta, hn::Mul(factor, LoadSome(d, gradient + i, n)), From::LoadSome(d, momentum + i, n));
    To::StoreSome(d, m.mean, momentum + i, n);
    StoreSome(m.ahead, d, out + i, n);
    StoreSome(hn::Zero(d), d, gradient + i, n);
  }
}

void MuonMomentum(float beta, float scale, std::size_t count, float* gradient, float* momentum, float* out) {
  MomentumOfAll<FromF32, ToF32>(beta, scale, count, gradient, momentum, out);
}

void MuonMomentumBf16(float beta, float scale, std::size_t count, float* gradient, std::uint16_t* momentum,
                      float* out) {
  MomentumOfAll<FromBf16, ToBf16>(beta, scale, count, gradient, momentum, out);
}

void MuonApply(float keep, float rate, std::size_t count, const float* update, float* weight) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF factor = hn::Set(d, keep);
  const VF step = hn::Set(d, rate);
  const auto moved = [&](VF w, VF u) { return hn::NegMulAdd(step, u, hn::Mul(factor, w)); };
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(moved(hn::LoadU(d, weight + i), hn::LoadU(d, update + i)), d, weight + i);
  if (i < count)
    StoreSome(moved(LoadSome(d, weight + i, count - i), LoadSome(d, update + i, count - i)), d, weight + i,
              count - i);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(MuonMomentum);
HWY_EXPORT(MuonMomentumBf16);
HWY_EXPORT(MuonApply);

// github.com/KellerJordan/Muon: the steepest slope at zero that does not let a singular value run away.
constexpr float kA = 3.4445F;
constexpr float kB = -4.7750F;
constexpr float kC = 2.0315F;
constexpr int kIterations = 5;
constexpr double kLeastNorm = 1e-7;

}  // namespace

void muon_momentum(float beta, float gradient_scale, std::size_t count, float* gradient, float* momentum,
                   float* out) {
  HWY_DYNAMIC_DISPATCH(MuonMomentum)(beta, gradient_scale, count, gradient, momentum, out);
}

void muon_momentum(float beta, float gradient_scale, std::size_t count, float* gradient, Bf16* momentum,
                   float* out) {
  HWY_DYNAMIC_DISPATCH(MuonMomentumBf16)(beta, gradient_scale, count, gradient, &momentum->bits, out);
}

void muon_apply(float keep, float rate, std::size_t count, const float* update, float* weight) {
  HWY_DYNAMIC_DISPATCH(MuonApply)(keep, rate, count, update, weight);
}

void orthogonalize(ThreadPool& pool, std::int64_t rows, std::int64_t cols, float* x) {
  const std::int64_t size = rows * cols;
  const double norm = std::sqrt(sum_of_squares(x, static_cast<std::size_t>(size)));
  const auto inverse = static_cast<float>(1.0 / std::max(norm, kLeastNorm));
  std::transform(x, x + size, x, [&](float value) { return value * inverse; });

  const bool tall = rows > cols;
  const std::int64_t side = std::min(rows, cols);
  const auto gram = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(side * side));
  const auto polynomial = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(side * side));
  const auto other = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(size));
  float* now = x;
  float* next = other.get();
  for (int i = 0; i < kIterations; ++i) {
    const Operand plain{now, cols};
    const Operand turned{now, cols, Transpose::yes};
    gemm(pool, side, side, std::max(rows, cols), 1.0F, tall ? turned : plain, tall ? plain : turned, 0.0F,
         gram.get(), side);
    // polynomial = a·I + b·A + c·A²: a multiple of x is then part of the product below.
    std::copy_n(gram.get(), side * side, polynomial.get());
    gemm(pool, side, side, side, kC, {gram.get(), side}, {gram.get(), side}, kB, polynomial.get(), side);
    for (std::int64_t k = 0; k < side; ++k) polynomial[static_cast<std::size_t>(k * (side + 1))] += kA;
    const Operand factor{polynomial.get(), side};
    gemm(pool, rows, cols, side, 1.0F, tall ? plain : factor, tall ? factor : plain, 0.0F, next, cols);
    std::swap(now, next);
  }
  if (now != x) std::copy_n(now, size, x);  // an odd number of iterations
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
