#pragma once

// AArch64 may have instructions that add four products of bytes at once (FEAT_DotProd, Armv8.2), for which
// Highway has no target. So a source with integer kernels is compiled a second time, from a source of its own
// that includes kernels/byte_products_pass.h first, and chooses between the two:
//
//   FATHOM_BYTE_PRODUCTS_EXPORT(Function);              in namespace fathom::kernels, instead of HWY_EXPORT
//   FATHOM_BYTE_PRODUCTS_DISPATCH(Function)(arguments)  instead of HWY_DYNAMIC_DISPATCH
//
// Elsewhere they are the same as Highway's.

namespace fathom::kernels {

/// Whether this machine has them and they have not been ruled out.
bool byte_products_in_use();

/// Whether this machine has them.
bool has_byte_products();

/// Rules them out or in again, as `limit_simd` does.
void allow_byte_products(bool allowed);

}  // namespace fathom::kernels

#if defined(__aarch64__)
#define FATHOM_BYTE_PRODUCTS_EXPORT(function)       \
  namespace N_NEON_BYTE_PRODUCTS {                  \
  decltype(HWY_STATIC_DISPATCH(function)) function; \
  }                                                 \
  static_assert(true, "For requiring trailing semicolon")
#define FATHOM_BYTE_PRODUCTS_DISPATCH(function) \
  (::fathom::kernels::byte_products_in_use() ? N_NEON_BYTE_PRODUCTS::function : HWY_STATIC_DISPATCH(function))
#else
#define FATHOM_BYTE_PRODUCTS_EXPORT(function) HWY_EXPORT(function)
#define FATHOM_BYTE_PRODUCTS_DISPATCH(function) HWY_DYNAMIC_DISPATCH(function)
#endif
