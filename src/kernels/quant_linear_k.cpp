#include "kernels/quant_linear_k.h"

#include "base/error.h"
#include "kernels/byte_products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant_linear_k.cpp"
#define FATHOM_SIMD_FOR_INTEGERS
#include "kernels/simd.h"
// After simd.h.
#include "kernels/quant_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void MultiplyLargeBlocks(const QuantProduct& product) {
  switch (product.w.dtype) {
    case DType::q2_k:
      return Product<FormatQ2_K>(product).run();
    case DType::q3_k:
      return Product<FormatQ3_K>(product).run();
    case DType::q4_k:
      return Product<FormatQ4_K>(product).run();
    case DType::q5_k:
      return Product<FormatQ5_K>(product).run();
    case DType::q6_k:
      return Product<FormatQ6_K>(product).run();
    case DType::iq4_xs:
      return Product<FormatIQ4_XS>(product).run();
    default:
      fail("weights of {} are no blocks of codes", dtype_name(product.w.dtype));
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {

FATHOM_BYTE_PRODUCTS_EXPORT(MultiplyLargeBlocks);

void quant_product_k(const QuantProduct& product) {
  FATHOM_BYTE_PRODUCTS_DISPATCH(MultiplyLargeBlocks)(product);
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
