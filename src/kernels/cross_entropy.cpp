#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Sum of exp(row - shift): blocks in f32, their sum in double. Writes the terms to `out` where given.
template <bool kStore>
double SumOfExponentials(const float* row, std::size_t vocab, float shift, float* out) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF down = hn::Set(d, shift);
  double total = 0.0;
  for (std::size_t begin = 0; begin < vocab; begin += kSumBlock) {
    const std::size_t end = std::min(vocab, begin + kSumBlock);
    VF sum = hn::Zero(d);
    std::size_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const VF term = Exp(d, hn::Sub(hn::LoadU(d, row + i), down));
      if constexpr (kStore) hn::StoreU(term, d, out + i);
      sum = hn::Add(sum, term);
    }
    if (i < end) {
      const std::size_t n = end - i;
      const VF term = Exp(d, hn::Sub(LoadSome(d, row + i, n), down));
      const VF kept = hn::IfThenElseZero(hn::FirstN(d, n), term);
      if constexpr (kStore) StoreSome(kept, d, out + i, n);
      sum = hn::Add(sum, kept);
    }
    total += static_cast<double>(Reduce(d, sum));
  }
  return total;
}

/// -log softmax(row)[target].
double RowLoss(const float* row, std::size_t vocab, std::size_t target) {
  const float shift = MaxOfArray(row, vocab);
  const double sum = SumOfExponentials<false>(row, vocab, shift, nullptr);
  return std::log(sum) - (static_cast<double>(row[target]) - static_cast<double>(shift));
}

/// The same, and the gradient in the row's place.
double RowLossAndGradient(float* row, std::size_t vocab, std::size_t target, float scale) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const float shift = MaxOfArray(row, vocab);
  const double margin = static_cast<double>(row[target]) - static_cast<double>(shift);
  const double sum = SumOfExponentials<true>(row, vocab, shift, row);
  const VF factor = hn::Set(d, static_cast<float>(static_cast<double>(scale) / sum));
  std::size_t i = 0;
  for (; i + lanes <= vocab; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, row + i), factor), d, row + i);
  if (i < vocab) StoreSome(hn::Mul(LoadSome(d, row + i, vocab - i), factor), d, row + i, vocab - i);
  // The target's own entry from the double value: p - 1 cancels when p is near 1.
  row[target] = static_cast<float>(static_cast<double>(scale) * std::expm1(margin - std::log(sum)));
  return std::log(sum) - margin;
}

void LogSoftmaxRow(float* row, std::size_t vocab) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const float shift = MaxOfArray(row, vocab);
  const VF down = hn::Set(d, shift);
  const VF log_sum =
      hn::Set(d, static_cast<float>(std::log(SumOfExponentials<false>(row, vocab, shift, nullptr))));
  for (std::size_t i = 0; i < vocab; i += lanes) {
    const std::size_t n = std::min(lanes, vocab - i);
    if (n == lanes) {
      hn::StoreU(hn::Sub(hn::Sub(hn::LoadU(d, row + i), down), log_sum), d, row + i);
    } else {
      StoreSome(hn::Sub(hn::Sub(LoadSome(d, row + i, n), down), log_sum), d, row + i, n);
    }
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(RowLoss);
HWY_EXPORT(RowLossAndGradient);
HWY_EXPORT(LogSoftmaxRow);

constexpr std::int64_t kValuesPerItem = 16384;

}  // namespace

void cross_entropy(ThreadPool& pool, float* logits, const std::int32_t* targets, std::int64_t tokens,
                   std::int64_t vocab, float scale, float* losses, const float* weights) {
  for (std::int64_t t = 0; t < tokens; ++t)
    require(targets[t] >= -1 && targets[t] < vocab, "target {} of token {} is outside the vocabulary of {}",
            targets[t], t, vocab);
  const auto rows =
      static_cast<std::size_t>(std::max<std::int64_t>(1, kValuesPerItem / std::max<std::int64_t>(1, vocab)));
  const auto width = static_cast<std::size_t>(vocab);
  pool.parallel_ranges(static_cast<std::size_t>(tokens), rows, [&](std::size_t begin, std::size_t end) {
    for (std::size_t t = begin; t < end; ++t) {
      float* row = logits + t * width;
      if (targets[t] < 0) {
        losses[t] = 0.0F;
        if (scale != 0.0F) std::fill_n(row, width, 0.0F);
        continue;
      }
      const auto target = static_cast<std::size_t>(targets[t]);
      const float own_scale = weights != nullptr ? scale * weights[t] : scale;
      losses[t] = static_cast<float>(
          scale != 0.0F ? HWY_DYNAMIC_DISPATCH(RowLossAndGradient)(row, width, target, own_scale)
                        : HWY_DYNAMIC_DISPATCH(RowLoss)(row, width, target));
    }
  });
}

void log_softmax(float* row, std::int64_t vocab) {
  HWY_DYNAMIC_DISPATCH(LogSoftmaxRow)(row, static_cast<std::size_t>(vocab));
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
