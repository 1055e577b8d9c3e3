#include "kernels/byte_products.h"

#include <atomic>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace fathom::kernels {
namespace {

std::atomic<bool> allowed_to_use = true;

}  // namespace

bool has_byte_products() {
#if defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long kDotProducts = 1UL << 20U;  // HWCAP_ASIMDDP
  static const bool has = (::getauxval(AT_HWCAP) & kDotProducts) != 0;
  return has;
#else
  return false;
#endif
}

bool byte_products_in_use() {
  return has_byte_products() && allowed_to_use.load(std::memory_order_relaxed);
}

void allow_byte_products(bool allowed) {
  allowed_to_use.store(allowed, std::memory_order_relaxed);
}

}  // namespace fathom::kernels
