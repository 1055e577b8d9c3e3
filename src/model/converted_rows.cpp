#include "model/converted_rows.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "kernels/encode_blocks.h"
#include "numerics/block_scale.h"
#include "numerics/convert.h"
#include "tensor/block_scaled.h"

namespace fathom {

Tensor converted_rows(ThreadPool& pool, const std::string& name, const Tensor& matrix,
                      const Tensor& scale_inv, std::int64_t begin, std::int64_t end, DType dtype) {
  const std::int64_t columns = matrix.size() / std::max<std::int64_t>(1, matrix.dim(0));
  Tensor result = Tensor::empty({end - begin, columns}, dtype);
  pool.parallel_ranges(
      static_cast<std::size_t>(end - begin), kScaleBlock, [&](std::size_t from, std::size_t to) {
        const auto first = begin + static_cast<std::int64_t>(from);
        const auto last = begin + static_cast<std::int64_t>(to);
        Tensor scales;
        if (scale_inv.defined())
          scales = scale_inv.rows(first / kScaleBlock, (last + kScaleBlock - 1) / kScaleBlock);
        const Tensor wide = to_f32(matrix.rows(first, last), scales);
        std::byte* target =
            static_cast<std::byte*>(result.data()) + stored_bytes(dtype, (first - begin) * columns);
        if (is_block_quantized(dtype)) {
          for (std::int64_t row = 0; row < wide.dim(0); ++row)
            kernels::encode_blocks(dtype, wide.f32() + row * columns, columns, nullptr,
                                   target + stored_bytes(dtype, row * columns));
          return;
        }
        require(narrow_from_f32(wide.f32(), wide.size(), dtype, target),
                "tensor {} holds a value too large for {}; choose BF16 or F32", name, dtype_name(dtype));
      });
  return result;
}

}  // namespace fathom
