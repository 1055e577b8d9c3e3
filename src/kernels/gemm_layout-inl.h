// Sizes of strips and panels, in Highway's per-target form (see kernels/simd_math-inl.h).

#if defined(FATHOM_KERNELS_GEMM_LAYOUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_GEMM_LAYOUT_INL_H_
#undef FATHOM_KERNELS_GEMM_LAYOUT_INL_H_
#else
#define FATHOM_KERNELS_GEMM_LAYOUT_INL_H_
#endif

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

// Accumulators fill the registers: 24 of AVX-512's 32, 12 of 16 elsewhere.
inline constexpr int kStripRows = HWY_MAX_BYTES == 64 ? 8 : 4;
inline constexpr int kPanelVectors = HWY_TARGET == HWY_SCALAR ? 4 : 3;
// Panels at the right edge have as few vectors as hold their columns, but no fewer than these: packing goes
// by four.
inline constexpr int kFewestVectors = HWY_TARGET == HWY_SCALAR ? 4 : 1;

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_GEMM_LAYOUT_INL_H_
