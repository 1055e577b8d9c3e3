#include "kernels/quant_linear_coded.h"

#include <algorithm>
#include <vector>

#include "kernels/byte_products.h"
#include "numerics/coded_blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant_linear_coded.cpp"
#define FATHOM_SIMD_FOR_INTEGERS
#include "kernels/simd.h"
// After simd.h.
#include "kernels/quant_coded_format-inl.h"
#include "kernels/quant_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void MultiplyParts(const QuantProduct& product) {
  Product<FormatCoded>(product).run();
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {

FATHOM_BYTE_PRODUCTS_EXPORT(MultiplyParts);

namespace {

/// Reads rows [begin, end) one after another.
/// @param parts  [end - begin, w.in / CodedPart::kValues]
void read_rows(const WeightMatrix& w, std::int64_t begin, std::int64_t end, CodedPart* parts) {
  const ReadCodedPart read = coded_part_reader(w.dtype);
  const auto parts_of_block = static_cast<std::size_t>(block_values(w.dtype)) / CodedPart::kValues;
  const auto* block = static_cast<const std::uint8_t*>(w.data) + stored_bytes(w.dtype, begin * w.in);
  const std::int64_t blocks = (end - begin) * w.in / block_values(w.dtype);
  for (std::int64_t b = 0; b < blocks; ++b, block += block_bytes(w.dtype))
    for (std::size_t part = 0; part < parts_of_block; ++part) read(block, part, *parts++);
}

}  // namespace

void quant_product_coded(const QuantProduct& product) {
  // Whole panels of every instruction set: as many as `Product` takes together.
  constexpr std::int64_t kRows = 16;
  constexpr std::int64_t kRowsOfManyTokens = 64;
  constexpr std::int64_t kManyTokens = 17;
  const std::int64_t rows = product.tokens < kManyTokens ? kRows : kRowsOfManyTokens;
  const WeightMatrix& w = product.w;
  static thread_local std::vector<CodedPart> parts;
  parts.resize(std::max(parts.size(), static_cast<std::size_t>(rows * w.in) / CodedPart::kValues));
  for (std::int64_t begin = product.begin; begin < product.end; begin += rows) {
    const std::int64_t end = std::min(product.end, begin + rows);
    read_rows(w, begin, end, parts.data());
    QuantProduct own = product;
    own.w = {parts.data(), w.dtype, end - begin, w.in, nullptr};
    own.begin = 0;
    own.end = end - begin;
    own.y = product.y + (begin - product.begin);
    FATHOM_BYTE_PRODUCTS_DISPATCH(MultiplyParts)(own);
  }
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
