#pragma once

// Has the source that is included after it compiled into a namespace of its own for AArch64 with products of
// bytes (kernels/byte_products.h): Highway's own operations stay those of NEON.

#define FATHOM_SIMD_FOR_INTEGERS
#include "kernels/simd_targets.h"
// After simd_targets.h.
#include <hwy/highway.h>

// The guard of Highway's header that compiles for every target: here for none but this one.
#define HIGHWAY_HWY_FOREACH_TARGET_H_

namespace hwy::N_NEON_BYTE_PRODUCTS {
using namespace N_NEON;
}  // namespace hwy::N_NEON_BYTE_PRODUCTS

#define FATHOM_BYTE_PRODUCTS_PASS
#undef HWY_NAMESPACE
#define HWY_NAMESPACE N_NEON_BYTE_PRODUCTS
#undef HWY_ONCE
#define HWY_ONCE 0
#undef HWY_TARGET_STR
#define HWY_TARGET_STR "arch=armv8.2-a+dotprod"
#undef HWY_BEFORE_NAMESPACE
#define HWY_BEFORE_NAMESPACE()        \
  HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR) \
  static_assert(true, "For requiring trailing semicolon")
#undef HWY_AFTER_NAMESPACE
#define HWY_AFTER_NAMESPACE() \
  HWY_POP_ATTRIBUTES          \
  static_assert(true, "For requiring trailing semicolon")
#undef HWY_ATTR
#define HWY_ATTR __attribute__((target(HWY_TARGET_STR)))
