#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/linear.h"
#include "numerics/convert.h"
#include "numerics/small_float.h"

namespace fathom::test {

inline constexpr DType kBlockTypes[] = {
    DType::q4_0,  DType::q4_1,  DType::q5_0,    DType::q5_1,   DType::q8_0,  DType::iq4_nl,
    DType::q2_k,  DType::q3_k,  DType::q4_k,    DType::q5_k,   DType::q6_k,  DType::iq4_xs,
    DType::iq1_s, DType::iq1_m, DType::iq2_xxs, DType::iq2_xs, DType::iq2_s, DType::iq3_xxs,
    DType::iq3_s, DType::tq1_0, DType::tq2_0,   DType::mxfp4};

/// Where a block has its one or two scales in f16. Those of IQ1_M and MXFP4 are not of that form.
inline std::vector<std::size_t> scale_places(DType dtype) {
  switch (dtype) {
    case DType::q4_1:
    case DType::q5_1:
    case DType::q4_k:
    case DType::q5_k:
      return {0, 2};
    case DType::q2_k:
      return {80, 82};
    case DType::q3_k:
      return {108};
    case DType::q6_k:
      return {208};
    case DType::tq1_0:
      return {52};
    case DType::tq2_0:
      return {64};
    default:
      return {0};
  }
}

/// Sets a block's scale, or both, to the value or near it.
inline void set_scales(DType dtype, float value, std::byte* block) {
  const F16 scale = F16::from_float(value);
  if (dtype == DType::iq1_m) {  // four bits in the top of each of four half-words
    for (std::size_t i = 0; i < 4; ++i) {
      std::byte& top = block[49 + 2 * i];
      top = (top & std::byte{0x0F}) | static_cast<std::byte>((scale.bits >> (4 * i) & 15) << 4);
    }
  } else if (dtype == DType::mxfp4) {  // an exponent alone
    block[0] = static_cast<std::byte>(std::isfinite(value) ? 128 + std::ilogb(value) : 255);
  } else {
    for (const std::size_t place : scale_places(dtype))
      std::memcpy(block + place, &scale.bits, sizeof(scale.bits));
  }
}

/// Random blocks at an odd address, which use every code, and their values.
struct QuantWeights {
  QuantWeights(DType dtype, std::int64_t out, std::int64_t in, std::uint64_t seed)
      : bytes(stored_bytes(dtype, out * in) + 1), values(static_cast<std::size_t>(out * in)) {
    Rng rng(seed);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.next_u32());
    for (std::size_t block = 1; block < bytes.size(); block += block_bytes(dtype))
      set_scales(dtype, static_cast<float>(0.01 * rng.normal()), bytes.data() + block);
    widen_to_f32(bytes.data() + 1, dtype, out * in, values.data());
    matrix = {bytes.data() + 1, dtype, out, in, nullptr};
  }
  QuantWeights(const QuantWeights&) = delete;
  QuantWeights& operator=(const QuantWeights&) = delete;

  std::vector<std::byte> bytes;
  std::vector<float> values;
  kernels::WeightMatrix matrix;
};

}  // namespace fathom::test
