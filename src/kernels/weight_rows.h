#pragma once

#include <cstdint>

#include "kernels/linear.h"

namespace fathom::kernels {

/// Rows [begin, end) of a weight in f32: where they lie when they are f32 already, else expanded, block
/// scales applied, into `scratch` [end - begin, in].
const float* weight_rows_f32(const WeightMatrix& w, std::int64_t begin, std::int64_t end, float* scratch);

}  // namespace fathom::kernels
