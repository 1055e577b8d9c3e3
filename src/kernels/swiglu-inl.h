// SwiGLU on one vector, in Highway's per-target form: include after kernels/simd.h in a .cpp file (see
// kernels/simd_math-inl.h).

#if defined(FATHOM_KERNELS_SWIGLU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_SWIGLU_INL_H_
#undef FATHOM_KERNELS_SWIGLU_INL_H_
#else
#define FATHOM_KERNELS_SWIGLU_INL_H_
#endif

#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

HWY_INLINE VF Gated(VF gate, VF up) {
  return hn::Mul(hn::Mul(gate, Sigmoid(DF(), gate)), up);
}

struct SwigluGradient {
  VF gate;
  VF up;
  VF product;
};

HWY_INLINE SwigluGradient Differentiate(VF dproduct, VF gate, VF up) {
  const DF d;
  const VF one = hn::Set(d, 1.0F);
  const VF sigmoid = Sigmoid(d, gate);
  const VF silu = hn::Mul(gate, sigmoid);
  // silu'(g) = s + g·s·(1 - s)
  const VF slope = hn::MulAdd(silu, hn::Sub(one, sigmoid), sigmoid);
  return {hn::Mul(hn::Mul(dproduct, up), slope), hn::Mul(dproduct, silu), hn::Mul(silu, up)};
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_SWIGLU_INL_H_
