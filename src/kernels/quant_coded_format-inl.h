// A format (kernels/quant_formats-inl.h) of rows that are in memory as parts of 32 signed codes with a scale
// for each half (numerics/coded_blocks.h).

#if defined(FATHOM_KERNELS_QUANT_CODED_FORMAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_QUANT_CODED_FORMAT_INL_H_
#undef FATHOM_KERNELS_QUANT_CODED_FORMAT_INL_H_
#else
#define FATHOM_KERNELS_QUANT_CODED_FORMAT_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/quant_formats-inl.h"
#include "numerics/coded_blocks.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

struct FormatCoded : SignedFormat {
  static constexpr std::size_t kBytes = sizeof(CodedPart);  // instead of kType
  static constexpr std::size_t kBlock = CodedPart::kValues;
  static constexpr std::size_t kGroup = 16;
  static constexpr std::size_t kUnit = kBlock;
  static constexpr int kMostDots = 4;
  static HWY_INLINE void Factors(const std::uint8_t* p, std::size_t stride, float* factors) {
    static_assert(offsetof(CodedPart, scales) == 32 && kBytes == 40);
    const DF d;
    const RowWords last = LoadRowWords(p + 24, stride);
    PutSignedFactors(factors, 0, hn::BitCast(d, last.word2));
    PutSignedFactors(factors, 1, hn::BitCast(d, last.word3));
  }
  template <class Sink>
  static HWY_INLINE void Unit(const std::uint8_t* p, std::size_t stride, std::size_t, Sink& sink) {
    PutMapped<0>(sink, LoadRowWords(p, stride), SignedCodes);
    PutMapped<4>(sink, LoadRowWords(p + 16, stride), SignedCodes);
  }
};

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_QUANT_CODED_FORMAT_INL_H_
