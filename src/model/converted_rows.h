#pragma once

#include <cstdint>
#include <string>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace fathom {

/// Rows [begin, end) of a matrix, or of a vector as a matrix, in another type; types of blocks are encoded
/// without calibration.
/// @param name       of the tensor, for messages
/// @param scale_inv  of an FP8 matrix
/// @param begin      a multiple of kScaleBlock where there are scales
/// Throws `Error` naming the tensor that holds a value too large for the type.
Tensor converted_rows(ThreadPool& pool, const std::string& name, const Tensor& matrix,
                      const Tensor& scale_inv, std::int64_t begin, std::int64_t end, DType dtype);

}  // namespace fathom
