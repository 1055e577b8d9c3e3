#include "kernels/expert_rows.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/expert_rows.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/swiglu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void AddWeightedRows(const float* rows, const std::int32_t* index, const float* weights, std::size_t count,
                     std::size_t dim, float* y) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const auto weight = [&](std::size_t j) { return hn::Set(d, weights == nullptr ? 1.0F : weights[j]); };
  const auto row = [&](std::size_t j) { return rows + static_cast<std::size_t>(index[j]) * dim; };
  std::size_t i = 0;
  for (; i + lanes <= dim; i += lanes) {
    VF sum = hn::LoadU(d, y + i);
    for (std::size_t j = 0; j < count; ++j) sum = hn::MulAdd(weight(j), hn::LoadU(d, row(j) + i), sum);
    hn::StoreU(sum, d, y + i);
  }
  if (i == dim) return;
  const std::size_t n = dim - i;
  VF sum = LoadSome(d, y + i, n);
  for (std::size_t j = 0; j < count; ++j) sum = hn::MulAdd(weight(j), LoadSome(d, row(j) + i, n), sum);
  StoreSome(sum, d, y + i, n);
}

float GatedSwigluBackward(const float* dproduct, const float* gate, const float* up, float weight,
                          std::size_t dim, float* dgate, float* dup, float* product) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF factor = hn::Set(d, weight);
  VF dweight = hn::Zero(d);
  std::size_t i = 0;
  for (; i + lanes <= dim; i += lanes) {
    const VF incoming = hn::LoadU(d, dproduct + i);
    const SwigluGradient grad = Differentiate(incoming, hn::LoadU(d, gate + i), hn::LoadU(d, up + i));
    dweight = hn::MulAdd(incoming, grad.product, dweight);
    hn::StoreU(hn::Mul(factor, grad.gate), d, dgate + i);
    hn::StoreU(hn::Mul(factor, grad.up), d, dup + i);
    hn::StoreU(hn::Mul(factor, grad.product), d, product + i);
  }
  if (i < dim) {
    const std::size_t n = dim - i;
    const VF incoming = LoadSome(d, dproduct + i, n);
    const SwigluGradient grad = Differentiate(incoming, LoadSome(d, gate + i, n), LoadSome(d, up + i, n));
    dweight = hn::MulAdd(incoming, grad.product, dweight);
    StoreSome(hn::Mul(factor, grad.gate), d, dgate + i, n);
    StoreSome(hn::Mul(factor, grad.up), d, dup + i, n);
    StoreSome(hn::Mul(factor, grad.product), d, product + i, n);
  }
  return Reduce(d, dweight);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(AddWeightedRows);
HWY_EXPORT(GatedSwigluBackward);

}  // namespace

void add_weighted_rows(const float* rows, const std::int32_t* index, const float* weights, std::int64_t count,
                       std::int64_t dim, float* y) {
  HWY_DYNAMIC_DISPATCH(AddWeightedRows)
  (rows, index, weights, static_cast<std::size_t>(count), static_cast<std::size_t>(dim), y);
}

float gated_swiglu_backward(const float* dproduct, const float* gate, const float* up, float weight,
                            std::int64_t dim, float* dgate, float* dup, float* product) {
  return HWY_DYNAMIC_DISPATCH(GatedSwigluBackward)(dproduct, gate, up, weight, static_cast<std::size_t>(dim),
                                                   dgate, dup, product);
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
