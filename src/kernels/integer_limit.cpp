#include "kernels/integer_limit.h"

#include <cstdint>

#include "kernels/byte_products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/integer_limit.cpp"
#define FATHOM_SIMD_FOR_INTEGERS
#include "kernels/simd.h"
// After simd.h.
#include "kernels/quant_dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

constexpr std::int64_t kRounds = 30000;
constexpr int kSums = 6;           // enough to hide latencies
constexpr std::size_t kSteps = 8;  // as of a block of 32 values

/// Has the compiler know nothing of them, so that no step is left out as the same as another.
HWY_INLINE void Forget(VU32& w, VU32& a) {
#if HWY_TARGET == HWY_SCALAR
  asm("" : "+r"(w.raw), "+r"(a.raw));
#elif HWY_ARCH_ARM
  asm("" : "+w"(w.raw), "+w"(a.raw));
#else
  asm("" : "+x"(w.raw), "+x"(a.raw));
#endif
}

std::int64_t MultiplyInRegisters(std::uint32_t seed) {
  VU32 w = hn::Set(DU32(), seed & 0x0F0F0F0FU);
  VU32 a = hn::Set(DU32(), seed * 0x01010101U);
  CodeDot<15, false> s0, s1, s2, s3, s4, s5;
  VI32 total = hn::Zero(DI32());
  for (std::int64_t round = 0; round < kRounds; ++round) {
    ForEach<kSteps>([&](auto step) FATHOM_IN_PLACE {
      Forget(w, a), s0.step<step>(w, a);
      Forget(w, a), s1.step<step>(w, a);
      Forget(w, a), s2.step<step>(w, a);
      Forget(w, a), s3.step<step>(w, a);
      Forget(w, a), s4.step<step>(w, a);
      Forget(w, a), s5.step<step>(w, a);
    });
    total = hn::Add(total, hn::Add(hn::Add(s0.sum<kSteps>(), s1.sum<kSteps>()), s2.sum<kSteps>()));
    total = hn::Add(total, hn::Add(hn::Add(s3.sum<kSteps>(), s4.sum<kSteps>()), s5.sum<kSteps>()));
  }
  return hn::GetLane(total);
}

double Operations() {
  return 2.0 * 4.0 * static_cast<double>(kRounds * kSums) * static_cast<double>(kSteps) *
         static_cast<double>(hn::Lanes(DF()));
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {

FATHOM_BYTE_PRODUCTS_EXPORT(MultiplyInRegisters);
FATHOM_BYTE_PRODUCTS_EXPORT(Operations);

std::int64_t multiply_integers(std::uint32_t seed) {
  return FATHOM_BYTE_PRODUCTS_DISPATCH(MultiplyInRegisters)(seed);
}

double integer_operations() {
  return FATHOM_BYTE_PRODUCTS_DISPATCH(Operations)();
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
