#include "kernels/stream_linear.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstddef>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/stream_linear.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"
#include "kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// One token's sums over four rows. Named rather than an array, so that they stay in registers.
struct FourSums {
  VF row0;
  VF row1;
  VF row2;
  VF row3;

  HWY_INLINE void add(const FourSums& w, VF x) {
    row0 = hn::MulAdd(w.row0, x, row0);
    row1 = hn::MulAdd(w.row1, x, row1);
    row2 = hn::MulAdd(w.row2, x, row2);
    row3 = hn::MulAdd(w.row3, x, row3);
  }

  HWY_INLINE void store(float* y, std::int64_t rows) const {
    const DF d;
    y[0] = Reduce(d, row0);
    if (rows > 1) y[1] = Reduce(d, row1);
    if (rows > 2) y[2] = Reduce(d, row2);
    if (rows > 3) y[3] = Reduce(d, row3);
  }
};

HWY_INLINE FourSums NoSums() {
  const VF zero = hn::Zero(DF());
  return {zero, zero, zero, zero};
}

/// Tokens whose sums over four rows fit the registers beside the weights.
#if HWY_TARGET == HWY_AVX2
constexpr int kMostTokens = 2;
#else
constexpr int kMostTokens = 4;
#endif

/// Four rows of weights at a column.
template <class W>
struct FourRows {
  using Type = typename W::Type;
  const Type* row0;
  const Type* row1;
  const Type* row2;
  const Type* row3;

  [[nodiscard]] HWY_INLINE FourSums load(std::size_t i) const {
    const DF d;
    return {W::Load(d, row0 + i), W::Load(d, row1 + i), W::Load(d, row2 + i), W::Load(d, row3 + i)};
  }
  HWY_INLINE void load_pair(std::size_t i, FourSums& first, FourSums& second) const {
    const DF d;
    const Pair pair0 = W::LoadPair(d, row0 + i);
    const Pair pair1 = W::LoadPair(d, row1 + i);
    const Pair pair2 = W::LoadPair(d, row2 + i);
    const Pair pair3 = W::LoadPair(d, row3 + i);
    first = {pair0.first, pair1.first, pair2.first, pair3.first};
    second = {pair0.second, pair1.second, pair2.second, pair3.second};
  }
  [[nodiscard]] HWY_INLINE FourSums load_some(std::size_t i, std::size_t n) const {
    const DF d;
    return {W::LoadSome(d, row0 + i, n), W::LoadSome(d, row1 + i, n), W::LoadSome(d, row2 + i, n),
            W::LoadSome(d, row3 + i, n)};
  }
};

/// Four rows times kTokens tokens. The columns go in blocks of `block`, each with its factor scale[i] ·
/// W::kFactor (no `scale`: one block of all columns). However many tokens, each one's sums are built in the
/// same order.
template <class W, int kTokens>
HWY_INLINE void MultiplyFourRows(const FourRows<W>& rows, std::size_t in, std::size_t block,
                                 const float* scale, const float* HWY_RESTRICT x,
                                 FourSums (&sums)[kMostTokens]) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t begin = 0; begin < in; begin += block) {
    const std::size_t end = std::min(in, begin + block);
    FourSums sum0 = NoSums();
    FourSums sum1 = NoSums();
    FourSums sum2 = NoSums();
    FourSums sum3 = NoSums();
    std::size_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      const std::size_t j = i + lanes;
      FourSums first;
      FourSums second;
      rows.load_pair(i, first, second);
      sum0.add(first, hn::LoadU(d, x + i));
      sum0.add(second, hn::LoadU(d, x + j));
      if constexpr (kTokens > 1) {
        sum1.add(first, hn::LoadU(d, x + in + i));
        sum1.add(second, hn::LoadU(d, x + in + j));
      }
      if constexpr (kTokens > 2) {
        sum2.add(first, hn::LoadU(d, x + 2 * in + i));
        sum2.add(second, hn::LoadU(d, x + 2 * in + j));
        sum3.add(first, hn::LoadU(d, x + 3 * in + i));
        sum3.add(second, hn::LoadU(d, x + 3 * in + j));
      }
    }
    if (i + lanes <= end) {
      const FourSums w = rows.load(i);
      sum0.add(w, hn::LoadU(d, x + i));
      if constexpr (kTokens > 1) sum1.add(w, hn::LoadU(d, x + in + i));
      if constexpr (kTokens > 2) {
        sum2.add(w, hn::LoadU(d, x + 2 * in + i));
        sum3.add(w, hn::LoadU(d, x + 3 * in + i));
      }
      i += lanes;
    }
    if (i < end) {
      const std::size_t n = end - i;
      const FourSums w = rows.load_some(i, n);
      sum0.add(w, LoadSome(d, x + i, n));
      if constexpr (kTokens > 1) sum1.add(w, LoadSome(d, x + in + i, n));
      if constexpr (kTokens > 2) {
        sum2.add(w, LoadSome(d, x + 2 * in + i, n));
        sum3.add(w, LoadSome(d, x + 3 * in + i, n));
      }
    }
    const float factor = scale != nullptr ? scale[begin / block] : 1.0F;
    const VF factors = hn::Set(d, factor * W::kFactor);
    sums[0].add(sum0, factors);
    if constexpr (kTokens > 1) sums[1].add(sum1, factors);
    if constexpr (kTokens > 2) {
      sums[2].add(sum2, factors);
      sums[3].add(sum3, factors);
    }
  }
}

/// Sums of kTokens tokens into y[t, row..row + count).
template <class W, int kTokens>
void FourRowsOfTokens(const FourRows<W>& rows, const WeightMatrix& w, std::size_t block, const float* scale,
                      const float* x, float* y, std::int64_t count) {
  FourSums sums[kMostTokens];
  for (int t = 0; t < kTokens; ++t) sums[t] = NoSums();
  MultiplyFourRows<W, kTokens>(rows, static_cast<std::size_t>(w.in), block, scale, x, sums);
  for (int t = 0; t < kTokens; ++t) sums[t].store(y + t * w.out, count);
}

/// Asks for the beginnings of the rows that come next: the processor's own prefetching starts anew with each
/// row, and finds its stride only some lines in.
template <class Type>
HWY_INLINE void PrefetchRows(const Type* first, std::int64_t rows, std::int64_t in) {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kHead = 512;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto* bytes = reinterpret_cast<const std::byte*>(first + r * in);
    const std::size_t head = std::min(kHead, static_cast<std::size_t>(in) * sizeof(Type));
    for (std::size_t b = 0; b < head; b += kLine) hwy::Prefetch(bytes + b);
  }
}

template <class W>
void StreamRows(const WeightMatrix& w, std::int64_t begin, std::int64_t end, const float* x,
                std::int64_t tokens, float* y) {
  const auto* data = static_cast<const typename W::Type*>(w.data);
  const std::int64_t blocks = (w.in + kScaleBlock - 1) / kScaleBlock;
  const auto block = static_cast<std::size_t>(w.block_scale != nullptr ? kScaleBlock : w.in);
  for (std::int64_t row = begin; row < end; row += 4) {
    // Past the last row, the last again: its sums are not stored.
    const auto start = [&](std::int64_t i) { return data + std::min(row + i, end - 1) * w.in; };
    const FourRows<W> rows{start(0), start(1), start(2), start(3)};
    const float* scale = w.block_scale != nullptr ? w.block_scale + row / kScaleBlock * blocks : nullptr;
    const std::int64_t count = std::min<std::int64_t>(4, end - row);
    PrefetchRows(data + (row + count) * w.in, std::min<std::int64_t>(4, end - row - count), w.in);
    std::int64_t t = 0;
    if constexpr (kMostTokens == 4)
      for (; t + 4 <= tokens; t += 4)
        FourRowsOfTokens<W, kMostTokens>(rows, w, block, scale, x + t * w.in, y + t * w.out + row, count);
    for (; t + 2 <= tokens; t += 2)
      FourRowsOfTokens<W, 2>(rows, w, block, scale, x + t * w.in, y + t * w.out + row, count);
    if (t < tokens) FourRowsOfTokens<W, 1>(rows, w, block, scale, x + t * w.in, y + t * w.out + row, count);
  }
}

/// `count` values times `factor`.
template <class W>
void ExpandRow(const void* from, std::int64_t offset, std::size_t count, float factor, float* to) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  const auto* p = static_cast<const typename W::Type*>(from) + offset;
  const VF factors = hn::Set(d, factor * W::kFactor);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(hn::Mul(W::Load(d, p + i), factors), d, to + i);
  if (i < count) StoreSome(hn::Mul(W::LoadSome(d, p + i, count - i), factors), d, to + i, count - i);
}

// Dispatch tables take no templates.
void StreamF32(const WeightMatrix& w, std::int64_t begin, std::int64_t end, const float* x,
               std::int64_t tokens, float* y) {
  StreamRows<FromF32>(w, begin, end, x, tokens, y);
}
void StreamBf16(const WeightMatrix& w, std::int64_t begin, std::int64_t end, const float* x,
                std::int64_t tokens, float* y) {
  StreamRows<FromBf16>(w, begin, end, x, tokens, y);
}
void StreamF16(const WeightMatrix& w, std::int64_t begin, std::int64_t end, const float* x,
               std::int64_t tokens, float* y) {
  StreamRows<FromF16>(w, begin, end, x, tokens, y);
}
void StreamF8E4M3(const WeightMatrix& w, std::int64_t begin, std::int64_t end, const float* x,
                  std::int64_t tokens, float* y) {
  StreamRows<FromF8E4M3>(w, begin, end, x, tokens, y);
}
void ExpandF32(const void* from, std::int64_t offset, std::size_t count, float factor, float* to) {
  ExpandRow<FromF32>(from, offset, count, factor, to);
}
void ExpandBf16(const void* from, std::int64_t offset, std::size_t count, float factor, float* to) {
  ExpandRow<FromBf16>(from, offset, count, factor, to);
}
void ExpandF16(const void* from, std::int64_t offset, std::size_t count, float factor, float* to) {
  ExpandRow<FromF16>(from, offset, count, factor, to);
}
void ExpandF8E4M3(const void* from, std::int64_t offset, std::size_t count, float factor, float* to) {
  ExpandRow<FromF8E4M3>(from, offset, count, factor, to);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(StreamF32);
HWY_EXPORT(StreamBf16);
HWY_EXPORT(StreamF16);
HWY_EXPORT(StreamF8E4M3);
HWY_EXPORT(ExpandF32);
HWY_EXPORT(ExpandBf16);
HWY_EXPORT(ExpandF16);
HWY_EXPORT(ExpandF8E4M3);

[[noreturn]] void no_weight_type(DType dtype) {
  fail("weights of type {} cannot be multiplied: F32, BF16, F16 and F8_E4M3 can", dtype_name(dtype));
}

auto stream_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return HWY_DYNAMIC_DISPATCH(StreamF32);
    case DType::bf16:
      return HWY_DYNAMIC_DISPATCH(StreamBf16);
    case DType::f16:
      return HWY_DYNAMIC_DISPATCH(StreamF16);
    case DType::f8_e4m3:
      return HWY_DYNAMIC_DISPATCH(StreamF8E4M3);
    default:
      no_weight_type(dtype);
  }
}

auto expand_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return HWY_DYNAMIC_DISPATCH(ExpandF32);
    case DType::bf16:
      return HWY_DYNAMIC_DISPATCH(ExpandBf16);
    case DType::f16:
      return HWY_DYNAMIC_DISPATCH(ExpandF16);
    case DType::f8_e4m3:
      return HWY_DYNAMIC_DISPATCH(ExpandF8E4M3);
    default:
      no_weight_type(dtype);
  }
}

}  // namespace

void stream_linear(const WeightMatrix& w, std::int64_t begin, std::int64_t end, const float* x,
                   std::int64_t tokens, float* y) {
  stream_of(w.dtype)(w, begin, end, x, tokens, y);
}

void expand_weights(const WeightMatrix& w, std::int64_t row, std::int64_t rows, std::int64_t column,
                    std::int64_t columns, float* out) {
  const auto expand = expand_of(w.dtype);
  const std::int64_t blocks = (w.in + kScaleBlock - 1) / kScaleBlock;
  const std::int64_t step = w.block_scale != nullptr ? kScaleBlock : std::max<std::int64_t>(1, columns);
  for (std::int64_t r = row; r < row + rows; ++r, out += columns)
    for (std::int64_t c = 0; c < columns; c += step) {
      const float factor = w.block_scale != nullptr
                               ? w.block_scale[r / kScaleBlock * blocks + (column + c) / kScaleBlock]
                               : 1.0F;
      expand(w.data, r * w.in + column + c, static_cast<std::size_t>(std::min(step, columns - c)), factor,
             out + c);
    }
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
