#include "kernels/stream_linear.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "kernels/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/stream_linear.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"
#include "kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// A vector for each of up to four rows of weights. Named rather than an array, so that they stay in
/// registers.
struct FourRows {
  VF row0;
  VF row1;
  VF row2;
  VF row3;
};

/// Sums of kRows (1 or 4) rows of weights times each of kTokens tokens; nested for the same reason. However
/// many rows and tokens, each one's sum is built in the same order.
template <int kRows, int kTokens>
struct Sums {
  Sums<kRows, kTokens - 1> others;
  FourRows own;

  HWY_INLINE void clear() {
    others.clear();
    own.row0 = own.row1 = own.row2 = own.row3 = hn::Zero(DF());
  }
  /// @param x  the first token's values at the columns of `w`; tokens are `stride` apart
  HWY_INLINE void add(const FourRows& w, const float* x, std::size_t stride) {
    others.add(w, x, stride);
    add_own(w, hn::LoadU(DF(), x + (kTokens - 1) * stride));
  }
  HWY_INLINE void add(const Sums& block, VF factor) {
    others.add(block.others, factor);
    add_own(block.own, factor);
  }
  /// @param y  where the first token's results go; tokens are `stride` apart
  HWY_INLINE void store(float* y, std::int64_t stride) const {
    others.store(y, stride);
    const DF d;
    y += (kTokens - 1) * stride;
    y[0] = Reduce(d, own.row0);
    if constexpr (kRows == 4) {
      y[1] = Reduce(d, own.row1);
      y[2] = Reduce(d, own.row2);
      y[3] = Reduce(d, own.row3);
    }
  }

 private:
  HWY_INLINE void add_own(const FourRows& a, VF b) {
    own.row0 = hn::MulAdd(a.row0, b, own.row0);
    if constexpr (kRows == 4) {
      own.row1 = hn::MulAdd(a.row1, b, own.row1);
      own.row2 = hn::MulAdd(a.row2, b, own.row2);
      own.row3 = hn::MulAdd(a.row3, b, own.row3);
    }
  }
};

template <int kRows>
struct Sums<kRows, 0> {
  HWY_INLINE void clear() {}
  HWY_INLINE void add(const FourRows&, const float*, std::size_t) {}
  HWY_INLINE void add(const Sums&, VF) {}
  HWY_INLINE void store(float*, std::int64_t) const {}
};

/// Tokens whose sums over four rows fit the registers beside the weights.
#if HWY_TARGET == HWY_AVX2
constexpr int kMostTokens = 2;
#else
constexpr int kMostTokens = 4;
#endif

/// Columns that W::Quad covers.
HWY_INLINE std::size_t QuadColumns() {
  return 4 * hn::Lanes(DF());
}

/// kRows rows of weights, read a quad of columns at a time.
template <class W, int kRows>
class RowReader {
 public:
  using Type = typename W::Type;
  using Columns = Type[4 * hn::MaxLanes(DF())];  // of a quad

  /// @param next  as much again, to be asked for meanwhile, or null
  HWY_INLINE RowReader(const Type* rows, std::size_t in, const Type* next)
      : start0_(rows),
        start1_(start0_ + (kRows == 4 ? in : 0)),
        start2_(start1_ + (kRows == 4 ? in : 0)),
        start3_(start2_ + (kRows == 4 ? in : 0)),
        next_(next) {}

  HWY_INLINE void load(std::size_t column) {
    if (next_ != nullptr) PrefetchQuads(next_ + kRows * column);
    quad0_.load(start0_ + column, watch0_);
    if constexpr (kRows == 4) {
      quad1_.load(start1_ + column, watch1_);
      quad2_.load(start2_ + column, watch2_);
      quad3_.load(start3_ + column, watch3_);
    }
  }
  /// n columns, and zeros for the rest of the quad. `memory` is in use until the next load.
  HWY_INLINE void load_some(std::size_t column, std::size_t n, Columns (&memory)[kRows]) {
    quad0_.load(Padded(start0_ + column, n, memory[0]), watch0_);
    if constexpr (kRows == 4) {
      quad1_.load(Padded(start1_ + column, n, memory[1]), watch1_);
      quad2_.load(Padded(start2_ + column, n, memory[2]), watch2_);
      quad3_.load(Padded(start3_ + column, n, memory[3]), watch3_);
    }
  }
  template <int kPart>
  [[nodiscard]] HWY_INLINE FourRows part() const {
    FourRows part;
    part.row0 = quad0_.template part<kPart>();
    if constexpr (kRows == 4) {
      part.row1 = quad1_.template part<kPart>();
      part.row2 = quad2_.template part<kPart>();
      part.row3 = quad3_.template part<kPart>();
    } else {
      part.row1 = part.row2 = part.row3 = part.row0;
    }
    return part;
  }
  [[nodiscard]] HWY_INLINE bool met_nan(std::int64_t row) const {
    if constexpr (kRows == 1) return watch0_.any();
    return row == 0 ? watch0_.any() : row == 1 ? watch1_.any() : row == 2 ? watch2_.any() : watch3_.any();
  }

 private:
  static HWY_INLINE const Type* Padded(const Type* from, std::size_t n, Columns& to) {
    std::memset(to, 0, sizeof(to));
    std::memcpy(to, from, n * sizeof(Type));
    return to;
  }
  /// Into the second cache: the first has rows and x enough.
  static HWY_INLINE void PrefetchQuads(const Type* from) {
    constexpr std::size_t kLine = 64;
    constexpr int kSecondCache = 2;
    const auto* bytes = reinterpret_cast<const std::byte*>(from);
    for (std::size_t b = 0; b < kRows * sizeof(Columns); b += kLine)
      __builtin_prefetch(bytes + b, 0, kSecondCache);
  }

  const Type* start0_;
  const Type* start1_;
  const Type* start2_;
  const Type* start3_;
  const Type* next_;
  typename W::Quad quad0_;
  typename W::Quad quad1_;
  typename W::Quad quad2_;
  typename W::Quad quad3_;
  typename W::NanWatch watch0_;
  typename W::NanWatch watch1_;
  typename W::NanWatch watch2_;
  typename W::NanWatch watch3_;
};

/// Adds the quad of columns that `rows` has loaded.
template <class W, int kRows, int kTokens>
HWY_INLINE void AddQuad(const RowReader<W, kRows>& rows, const float* x, std::size_t x_stride,
                        Sums<kRows, kTokens>& sums) {
  const std::size_t lanes = hn::Lanes(DF());
  sums.add(rows.template part<0>(), x, x_stride);
  sums.add(rows.template part<1>(), x + lanes, x_stride);
  sums.add(rows.template part<2>(), x + 2 * lanes, x_stride);
  sums.add(rows.template part<3>(), x + 3 * lanes, x_stride);
}

/// kRows rows times kTokens tokens. The columns go in blocks, for independent chains of sums and for factors.
/// @param next  as RowReader takes it
/// @param scale  a factor for each kScaleBlock columns, or null
/// @param x  [kTokens, `in` in whole quads], in W's order of columns, zeros at the end
/// @param y  kRows results of each token
template <class W, int kRows, int kTokens>
HWY_INLINE void MultiplyRows(const typename W::Type* rows, const typename W::Type* next, std::size_t in,
                             const float* scale, const float* HWY_RESTRICT x, float* y,
                             std::int64_t y_stride) {
  const DF d;
  const std::size_t step = QuadColumns();
  const std::size_t x_stride = hwy::RoundUpTo(in, step);
  RowReader<W, kRows> reader(rows, in, next);
  Sums<kRows, kTokens> total;
  total.clear();
  for (std::size_t begin = 0; begin < in; begin += kScaleBlock) {
    const std::size_t end = std::min<std::size_t>(in, begin + kScaleBlock);
    Sums<kRows, kTokens> sums;
    sums.clear();
    std::size_t i = begin;
    for (; i + step <= end; i += step) {
      reader.load(i);
      AddQuad(reader, x + i, x_stride, sums);
    }
    if (i < end) {
      typename RowReader<W, kRows>::Columns rest[kRows];
      reader.load_some(i, end - i, rest);
      AddQuad(reader, x + i, x_stride, sums);
    }
    total.add(sums, hn::Set(d, (scale != nullptr ? scale[begin / kScaleBlock] : 1.0F) * W::kQuadFactor));
  }
  total.store(y, y_stride);
  for (std::int64_t r = 0; r < kRows; ++r)
    if (reader.met_nan(r))
      for (int t = 0; t < kTokens; ++t) y[t * y_stride + r] = std::numeric_limits<float>::quiet_NaN();
}

/// x as MultiplyRows wants it: itself, or a copy in this thread's scratch memory.
template <class W>
const float* LayOutInputs(const float* x, std::int64_t tokens, std::size_t in) {
  const DF d;
  const std::size_t step = QuadColumns();
  const std::size_t stride = hwy::RoundUpTo(in, step);
  if (W::kColumnsInOrder && stride == in) return x;
  float* copy = thread_scratch(static_cast<std::size_t>(tokens) * stride);
  for (float* to = copy; tokens > 0; --tokens, x += in, to += stride) {
    std::copy_n(x, in, to);
    std::fill(to + in, to + stride, 0.0F);
    if constexpr (!W::kColumnsInOrder)
      for (std::size_t i = 0; i < stride; i += step) W::OrderColumns(d, to + i);
  }
  return copy;
}

/// How far ahead a single row is asked for.
constexpr std::int64_t kAheadBytes = 2048;

/// Rows [begin, end) in groups of kRows, as far as they go, times each token. Returns the first row left.
template <class W, int kRows>
HWY_INLINE std::int64_t StreamGroups(const WeightMatrix& w, std::int64_t begin, std::int64_t end,
                                     const float* x, std::int64_t tokens, float* y) {
  const auto in = static_cast<std::size_t>(w.in);
  const std::int64_t blocks = (w.in + kScaleBlock - 1) / kScaleBlock;
  const auto x_stride = static_cast<std::int64_t>(hwy::RoundUpTo(in, QuadColumns()));
  std::int64_t row = begin;
  for (; row + kRows <= end; row += kRows) {
    const auto* rows = static_cast<const typename W::Type*>(w.data) + row * w.in;
    const float* scale = w.block_scale != nullptr ? w.block_scale + row / kScaleBlock * blocks : nullptr;
    const std::int64_t ahead = kRows > 1 ? kRows * w.in : kAheadBytes / std::int64_t{sizeof(*rows)};
    const auto* next = (end - row - kRows) * w.in >= ahead ? rows + ahead : nullptr;
    std::int64_t t = 0;
    const auto multiply = [&]<int kTokens>() HWY_ATTR {
      for (; t + kTokens <= tokens; t += kTokens, next = nullptr)
        MultiplyRows<W, kRows, kTokens>(rows, next, in, scale, x + t * x_stride, y + t * w.out + row, w.out);
    };
    if constexpr (kMostTokens == 4) multiply.template operator()<4>();
    multiply.template operator()<2>();
    multiply.template operator()<1>();
  }
  return row;
}

/// A token alone goes row by row: memory is read in one go from begin to end, which is what processors
/// foresee best. More tokens go by four rows, for fewer loads of x.
template <class W>
void StreamRows(const WeightMatrix& w, std::int64_t begin, std::int64_t end, const float* x,
                std::int64_t tokens, float* y) {
  x = LayOutInputs<W>(x, tokens, static_cast<std::size_t>(w.in));
  constexpr std::int64_t kLongInput = 4096;
  if (tokens > 1 || w.in > kLongInput) begin = StreamGroups<W, 4>(w, begin, end, x, tokens, y);
  StreamGroups<W, 1>(w, begin, end, x, tokens, y);
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
