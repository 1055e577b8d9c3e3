#include "kernels/adamw.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adamw.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"

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

void AdamW(const AdamWStep& step, std::size_t count, float* weight, float* gradient, float* first,
           float* second) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const AdamWState state =
        Update(step, hn::LoadU(d, gradient + i),
               {hn::LoadU(d, weight + i), hn::LoadU(d, first + i), hn::LoadU(d, second + i)});
    hn::StoreU(state.weight, d, weight + i);
    hn::StoreU(state.first, d, first + i);
    hn::StoreU(state.second, d, second + i);
    hn::StoreU(hn::Zero(d), d, gradient + i);
  }
  if (i < count) {
    const std::size_t n = count - i;
    const AdamWState state =
        Update(step, LoadSome(d, gradient + i, n),
               {LoadSome(d, weight + i, n), LoadSome(d, first + i, n), LoadSome(d, second + i, n)});
    StoreSome(state.weight, d, weight + i, n);
    StoreSome(state.first, d, first + i, n);
    StoreSome(state.second, d, second + i, n);
    StoreSome(hn::Zero(d), d, gradient + i, n);
  }
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
HWY_EXPORT(SquaresOf);

}  // namespace

void adamw(const AdamWStep& step, std::size_t count, float* weight, float* gradient, float* first_moment,
           float* second_moment) {
  HWY_DYNAMIC_DISPATCH(AdamW)(step, count, weight, gradient, first_moment, second_moment);
}

double sum_of_squares(const float* values, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(SquaresOf)(values, count);
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
