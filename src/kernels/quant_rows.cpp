#include "kernels/quant_rows.h"

#include <cmath>
#include <limits>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant_rows.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void QuantizeActivations(const float* values, std::int64_t blocks, ActivationBlock* out) {
  const hn::CappedTag<float, ActivationBlock::kValues / 2> d;  // so that halves are whole vectors
  using V = hn::Vec<decltype(d)>;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::int8_t, decltype(d)> d8;
  constexpr std::size_t kHalf = ActivationBlock::kValues / 2;
  const std::size_t lanes = hn::Lanes(d);
  for (; blocks > 0; --blocks, values += ActivationBlock::kValues, ++out) {
    // As integers magnitudes are ordered alike, and those that are no numbers come last.
    auto largest = hn::Zero(di);
    for (std::size_t i = 0; i < 2 * kHalf; i += lanes)
      largest = hn::Max(largest, hn::BitCast(di, hn::Abs(hn::LoadU(d, values + i))));
    const std::int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest));
    float magnitude = 0.0F;
    std::memcpy(&magnitude, &bits, sizeof(magnitude));
    if (!std::isfinite(magnitude)) {
      out->scale = out->sum = out->half_sums[0] = out->half_sums[1] = std::numeric_limits<float>::quiet_NaN();
      std::memset(out->codes, 0, sizeof(out->codes));
      continue;
    }
    const float scale = magnitude / 127.0F;
    // A magnitude so small that its inverse overflows counts as none.
    const float inverse = scale < std::numeric_limits<float>::min() ? 0.0F : 127.0F / magnitude;
    const V factor = hn::Set(d, inverse);
    out->scale = inverse == 0.0F ? 0.0F : scale;
    for (std::size_t half = 0; half < 2; ++half) {
      auto sum = hn::Zero(di);
      for (std::size_t i = half * kHalf; i < (half + 1) * kHalf; i += lanes) {
        const auto code = hn::NearestInt(hn::Mul(hn::LoadU(d, values + i), factor));
        sum = hn::Add(sum, code);
        hn::StoreU(hn::DemoteTo(d8, code), d8, out->codes + i);
      }
      out->half_sums[half] = out->scale * static_cast<float>(hn::GetLane(hn::SumOfLanes(di, sum)));
    }
    out->sum = out->half_sums[0] + out->half_sums[1];
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(QuantizeActivations);

/// Values of an item: enough to be worth a thread's while.
constexpr std::int64_t kItemValues = 1 << 13;

}  // namespace

QuantizedRows::QuantizedRows(std::int64_t rows, std::int64_t columns)
    : rows_(rows), blocks_(columns / ActivationBlock::kValues) {
  require(columns % ActivationBlock::kValues == 0,
          "activations of {} values are not quantised in blocks of {}", columns, ActivationBlock::kValues);
  data_ = std::make_unique_for_overwrite<ActivationBlock[]>(static_cast<std::size_t>(rows * blocks_));
}

void quantize_activations(const float* values, std::int64_t blocks, ActivationBlock* out) {
  HWY_DYNAMIC_DISPATCH(QuantizeActivations)(values, blocks, out);
}

QuantizedRows quantize_rows(ThreadPool& pool, const float* x, std::int64_t rows, std::int64_t columns,
                            std::int64_t stride) {
  QuantizedRows quantized(rows, columns);
  const std::int64_t grain = std::max<std::int64_t>(1, kItemValues / std::max<std::int64_t>(1, columns));
  pool.parallel_ranges(
      static_cast<std::size_t>(rows), static_cast<std::size_t>(grain),
      [&](std::size_t begin, std::size_t end) {
        for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row)
          quantize_activations(x + row * stride, columns / ActivationBlock::kValues, quantized.row(row));
      });
  return quantized;
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
