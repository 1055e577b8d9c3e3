#include "kernels/adamw.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adamw.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/narrow-inl.h"
#include "kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

struct AdamWState {
  VF weight;
  VF first;
  VF second;
};

HWY_INLINE AdamWState Update(const AdamWStep& step, VF gradient, AdamWState state) {
  const DF d;
  const VF g = hn::Mul(gradient, hn::Set(d, step.gradient_scale));
  state.first = hn::MulAdd(hn::Set(d, step.beta1), state.first, hn::Mul(hn::Set(d, 1.0F - step.beta1), g));
  state.second =
      hn::MulAdd(hn::Set(d, step.beta2), state.second, hn::Mul(hn::Set(d, 1.0F - step.beta2), hn::Mul(g, g)));
  const VF root = hn::Sqrt(hn::Mul(state.second, hn::Set(d, step.correction2)));
  const VF direction =
      hn::Div(hn::Mul(state.first, hn::Set(d, step.correction1)), hn::Add(root, hn::Set(d, step.epsilon)));
  const VF move = hn::MulAdd(hn::Set(d, step.weight_decay), state.weight, direction);
  state.weight = hn::NegMulAdd(hn::Set(d, step.learning_rate), move, state.weight);
  return state;
}

/// @tparam From, To  how moments are read and stored
template <class From, class To>
HWY_INLINE void UpdateAll(const AdamWStep& step, std::size_t count, float* weight, float* gradient,
                          typename To::Type* first, typename To::Type* second) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const AdamWState state =
        Update(step, hn::LoadU(d, gradient + i),
               {hn::LoadU(d, weight + i), From::Load(d, first + i), From::Load(d, second + i)});
    hn::StoreU(state.weight, d, weight + i);
    To::Store(d, state.first, first + i);
    To::Store(d, state.second, second + i);
    hn::StoreU(hn::Zero(d), d, gradient + i);
  }
  if (i < count) {
    const std::size_t n = count - i;
    const AdamWState state = Update(
        step, LoadSome(d, gradient + i, n),
        {LoadSome(d, weight + i, n), From::LoadSome(d, first + i, n), From::LoadSome(d, second + i, n)});
    StoreSome(state.weight, d, weight + i, n);
    To::StoreSome(d, state.first, first + i, n);
    To::StoreSome(d, state.second, second + i, n);
    StoreSome(hn::Zero(d), d, gradient + i, n);
  }
}

void AdamW(const AdamWStep& step, std::size_t count, float* weight, float* gradient, float* first,
           float* second) {
  UpdateAll<FromF32, ToF32>(step, count, weight, gradient, first, second);
}

void AdamWBf16(const AdamWStep& step, std::size_t count, float* weight, float* gradient, std::uint16_t* first,
               std::uint16_t* second) {
  UpdateAll<FromBf16, ToBf16>(step, count, weight, gradient, first, second);
}

double SquaresOf(const float* values, std::size_t count) {
  return SumSquares(values, count);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(AdamW);
HWY_EXPORT(AdamWBf16);
HWY_EXPORT(SquaresOf);

}  // namespace

void adamw(const AdamWStep& step, std::size_t count, float* weight, float* gradient, float* first_moment,
           float* second_moment) {
  HWY_DYNAMIC_DISPATCH(AdamW)(step, count, weight, gradient, first_moment, second_moment);
}

void adamw(const AdamWStep& step, std::size_t count, float* weight, float* gradient, Bf16* first_moment,
           Bf16* second_moment) {
  static_assert(sizeof(Bf16) == sizeof(std::uint16_t));
  HWY_DYNAMIC_DISPATCH(AdamWBf16)
  (step, count, weight, gradient, &first_moment->bits, &second_moment->bits);
}

double sum_of_squares(const float* values, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(SquaresOf)(values, count);
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
