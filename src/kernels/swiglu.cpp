#include "kernels/swiglu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/swiglu.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/swiglu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void Swiglu(const float* gate, const float* up, std::size_t count, float* out) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(Gated(hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, out + i);
  if (i < count) {
    const std::size_t n = count - i;
    StoreSome(Gated(LoadSome(d, gate + i, n), LoadSome(d, up + i, n)), d, out + i, n);
  }
}

void SwigluBackward(const float* dproduct, const float* gate, const float* up, std::size_t count,
                    float* dgate, float* dup, float* product) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const SwigluGradient grad =
        Differentiate(hn::LoadU(d, dproduct + i), hn::LoadU(d, gate + i), hn::LoadU(d, up + i));
    hn::StoreU(grad.gate, d, dgate + i);
    hn::StoreU(grad.up, d, dup + i);
    hn::StoreU(grad.product, d, product + i);
  }
  if (i < count) {
    const std::size_t n = count - i;
    const SwigluGradient grad =
        Differentiate(LoadSome(d, dproduct + i, n), LoadSome(d, gate + i, n), LoadSome(d, up + i, n));
    StoreSome(grad.gate, d, dgate + i, n);
    StoreSome(grad.up, d, dup + i, n);
    StoreSome(grad.product, d, product + i, n);
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(Swiglu);
HWY_EXPORT(SwigluBackward);

constexpr std::size_t kValuesPerItem = 16384;

}  // namespace

void swiglu_forward(ThreadPool& pool, const float* gate, const float* up, std::int64_t count, float* out) {
  pool.parallel_ranges(static_cast<std::size_t>(count), kValuesPerItem,
                       [&](std::size_t begin, std::size_t end) {
                         HWY_DYNAMIC_DISPATCH(Swiglu)(gate + begin, up + begin, end - begin, out + begin);
                       });
}

void swiglu_backward(ThreadPool& pool, const float* dproduct, const float* gate, const float* up,
                     std::int64_t count, float* dgate, float* dup, float* product) {
  pool.parallel_ranges(static_cast<std::size_t>(count), kValuesPerItem,
                       [&](std::size_t begin, std::size_t end) {
                         HWY_DYNAMIC_DISPATCH(SwigluBackward)
                         (dproduct + begin, gate + begin, up + begin, end - begin, dgate + begin, dup + begin,
                          product + begin);
                       });
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
