#include "numerics/convert.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "numerics/quant_blocks.h"
#include "numerics/small_float.h"

namespace fathom {
namespace {

template <typename Small>
void widen(const void* source, std::int64_t count, float* target) {
  const auto* values = static_cast<const Small*>(source);
  for (std::int64_t i = 0; i < count; ++i) target[i] = values[i].to_float();
}

template <typename Small>
bool narrow(const float* source, std::int64_t count, void* target) {
  auto* values = static_cast<Small*>(target);
  bool fits = true;
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = Small::from_float(source[i]);
    fits &= !std::isinf(values[i].to_float()) || std::isinf(source[i]);
  }
  return fits;
}

}  // namespace

bool is_plain_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

void widen_to_f32(const void* source, DType dtype, std::int64_t count, float* target) {
  if (count == 0) return;
  switch (dtype) {
    case DType::f32:
      std::memcpy(target, source, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case DType::bf16:
      return widen<Bf16>(source, count, target);
    case DType::f16:
      return widen<F16>(source, count, target);
    case DType::f8_e4m3:
      return widen<F8E4M3>(source, count, target);
    case DType::f8_e5m2:
      return widen<F8E5M2>(source, count, target);
    default:
      require(is_block_quantized(dtype), "cannot convert {} to F32", dtype_name(dtype));
      return decode_blocks(dtype, source, count, target);
  }
}

bool narrow_from_f32(const float* source, std::int64_t count, DType dtype, void* target) {
  if (count == 0) return true;
  switch (dtype) {
    case DType::f32:
      std::memcpy(target, source, static_cast<std::size_t>(count) * sizeof(float));
      return true;
    case DType::bf16:
      return narrow<Bf16>(source, count, target);
    case DType::f16:
      return narrow<F16>(source, count, target);
    default:
      fail("cannot convert F32 to {}", dtype_name(dtype));
  }
}

}  // namespace fathom
