#include "kernels/quant_linear.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "kernels/byte_products.h"
#include "kernels/quant_linear_coded.h"
#include "kernels/quant_linear_k.h"
#include "numerics/coded_blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant_linear.cpp"
#define FATHOM_SIMD_FOR_INTEGERS
#include "kernels/simd.h"
// After simd.h.
#include "kernels/quant_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void MultiplySmallBlocks(const QuantProduct& product) {
  switch (product.w.dtype) {
    case DType::q4_0:
      return Product<FormatQ4_0>(product).run();
    case DType::q4_1:
      return Product<FormatQ4_1>(product).run();
    case DType::q5_0:
      return Product<FormatQ5_0>(product).run();
    case DType::q5_1:
      return Product<FormatQ5_1>(product).run();
    case DType::q8_0:
      return Product<FormatQ8_0>(product).run();
    case DType::iq4_nl:
      return Product<FormatIQ4_NL>(product).run();
    default:
      fail("weights of {} are no blocks of codes", dtype_name(product.w.dtype));
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {

FATHOM_BYTE_PRODUCTS_EXPORT(MultiplySmallBlocks);

void quant_product(const QuantProduct& product) {
  if (product.tokens == 0) return;
  if (is_coded(product.w.dtype)) return quant_product_coded(product);
  if (block_values(product.w.dtype) == kLargeBlock) return quant_product_k(product);
  FATHOM_BYTE_PRODUCTS_DISPATCH(MultiplySmallBlocks)(product);
}

std::size_t quant_item_bytes(const ThreadPool& pool, std::size_t total) {
  constexpr std::size_t kItemsOfThread = 8;
  constexpr std::size_t kLeast = std::size_t{64} << 10U;
  constexpr std::size_t kMost = std::size_t{256} << 10U;
  return std::clamp(total / (kItemsOfThread * pool.threads()), kLeast, kMost);
}

std::int64_t quant_item_rows(const WeightMatrix& w, std::int64_t tokens, std::size_t bytes) {
  // Whole groups of panels of every instruction set where they are laid out together.
  constexpr std::int64_t kRows = 64;
  constexpr std::int64_t kPanelRows = 16;
  constexpr std::int64_t kFew = 16;
  if (tokens > kFew) return kRows;
  const std::size_t row_bytes = stored_bytes(w.dtype, std::max<std::int64_t>(1, w.in));
  return std::max(kPanelRows, static_cast<std::int64_t>(bytes / row_bytes) / kPanelRows * kPanelRows);
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
