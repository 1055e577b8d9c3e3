#pragma once

#include "kernels/quant_linear.h"

namespace fathom::kernels {

/// `quant_product` for weights in the types of numerics/coded_blocks.h. Their codes are found by table, one
/// row after another, so a few rows are laid out as bytes first.
/// @param product  of at least one token
void quant_product_coded(const QuantProduct& product);

}  // namespace fathom::kernels
