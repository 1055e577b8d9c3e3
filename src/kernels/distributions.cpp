#include "kernels/distributions.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/distributions.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void SoftmaxRow(float* row, std::size_t vocab) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const VF shift = hn::Set(d, MaxOfArray(row, vocab));
  std::size_t i = 0;
  for (; i + lanes <= vocab; i += lanes)
    hn::StoreU(Exp(d, hn::Sub(hn::LoadU(d, row + i), shift)), d, row + i);
  if (i < vocab) StoreSome(Exp(d, hn::Sub(LoadSome(d, row + i, vocab - i), shift)), d, row + i, vocab - i);
  const VF factor = hn::Set(d, static_cast<float>(1.0 / Sum(row, vocab)));
  for (i = 0; i + lanes <= vocab; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, row + i), factor), d, row + i);
  if (i < vocab) StoreSome(hn::Mul(LoadSome(d, row + i, vocab - i), factor), d, row + i, vocab - i);
}

double OverlapOfRows(const float* p, const float* q, std::size_t vocab) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  double total = 0.0;
  for (std::size_t begin = 0; begin < vocab; begin += kSumBlock) {
    const std::size_t end = std::min(vocab, begin + kSumBlock);
    VF sum = hn::Zero(d);
    std::size_t i = begin;
    for (; i + lanes <= end; i += lanes)
      sum = hn::Add(sum, hn::Min(hn::LoadU(d, p + i), hn::LoadU(d, q + i)));
    if (i < end) sum = hn::Add(sum, hn::Min(LoadSome(d, p + i, end - i), LoadSome(d, q + i, end - i)));
    total += static_cast<double>(Reduce(d, sum));
  }
  return total;
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(SoftmaxRow);
HWY_EXPORT(OverlapOfRows);

/// Calls `work` with each row's number, some thousand values an item.
template <typename Work>
void for_each_row(ThreadPool& pool, std::int64_t tokens, std::int64_t vocab, const Work& work) {
  constexpr std::int64_t kValuesPerItem = 16384;
  const auto rows =
      static_cast<std::size_t>(std::max<std::int64_t>(1, kValuesPerItem / std::max<std::int64_t>(1, vocab)));
  pool.parallel_ranges(static_cast<std::size_t>(tokens), rows, [&](std::size_t begin, std::size_t end) {
    for (std::size_t t = begin; t < end; ++t) work(t);
  });
}

}  // namespace

void argmax_rows(ThreadPool& pool, const float* rows, std::int64_t tokens, std::int64_t vocab,
                 std::int32_t* places) {
  const auto width = static_cast<std::size_t>(vocab);
  for_each_row(pool, tokens, vocab, [&](std::size_t t) {
    const float* row = rows + t * width;
    places[t] = static_cast<std::int32_t>(std::max_element(row, row + width) - row);
  });
}

void softmax_rows(ThreadPool& pool, float* rows, std::int64_t tokens, std::int64_t vocab) {
  const auto width = static_cast<std::size_t>(vocab);
  for_each_row(pool, tokens, vocab, [&](std::size_t t) {
    HWY_DYNAMIC_DISPATCH(SoftmaxRow)(rows + t * width, width);
  });
}

void overlap_rows(ThreadPool& pool, const float* p, const std::int64_t* p_rows, const float* q,
                  std::int64_t tokens, std::int64_t vocab, float* sums) {
  const auto width = static_cast<std::size_t>(vocab);
  for_each_row(pool, tokens, vocab, [&](std::size_t t) {
    sums[t] =
        static_cast<float>(HWY_DYNAMIC_DISPATCH(OverlapOfRows)(p + p_rows[t] * vocab, q + t * width, width));
  });
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
