#include "kernels/vector_ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/vector_ops.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void Add(const float* a, const float* b, std::size_t count, float* out) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
  for (; i < count; ++i) out[i] = a[i] + b[i];
}

void Axpy(float alpha, const float* x, std::size_t count, float* y) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF factor = hn::Set(d, alpha);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::Mul(factor, hn::LoadU(d, x + i))), d, y + i);
  for (; i < count; ++i) y[i] += alpha * x[i];
}

void MoveTowards(const float* target, float rate, std::size_t count, float* values) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF factor = hn::Set(d, rate);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const VF value = hn::LoadU(d, values + i);
    hn::StoreU(hn::Add(value, hn::Mul(factor, hn::Sub(hn::LoadU(d, target + i), value))), d, values + i);
  }
  for (; i < count; ++i) values[i] += rate * (target[i] - values[i]);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(Add);
HWY_EXPORT(Axpy);
HWY_EXPORT(MoveTowards);

constexpr std::size_t kValuesPerItem = 32768;

}  // namespace

void add(ThreadPool& pool, const float* a, const float* b, std::int64_t count, float* out) {
  pool.parallel_ranges(static_cast<std::size_t>(count), kValuesPerItem,
                       [&](std::size_t begin, std::size_t end) {
                         HWY_DYNAMIC_DISPATCH(Add)(a + begin, b + begin, end - begin, out + begin);
                       });
}

void axpy(ThreadPool& pool, float alpha, const float* x, std::int64_t count, float* y) {
  pool.parallel_ranges(static_cast<std::size_t>(count), kValuesPerItem,
                       [&](std::size_t begin, std::size_t end) {
                         HWY_DYNAMIC_DISPATCH(Axpy)(alpha, x + begin, end - begin, y + begin);
                       });
}

void move_towards(const float* target, float rate, std::int64_t count, float* values) {
  HWY_DYNAMIC_DISPATCH(MoveTowards)(target, rate, static_cast<std::size_t>(count), values);
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
