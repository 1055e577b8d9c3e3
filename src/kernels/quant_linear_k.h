#pragma once

#include <cstdint>

#include "kernels/quant_linear.h"

namespace fathom::kernels {

/// Values of a block of the types whose products are in a source of their own, as each takes compilers long.
constexpr std::int64_t kLargeBlock = 256;

/// `quant_product` for weights in blocks of `kLargeBlock` values.
/// @param product  of at least one token
void quant_product_k(const QuantProduct& product);

}  // namespace fathom::kernels
