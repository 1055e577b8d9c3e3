#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/linear.h"
#include "numerics/convert.h"
#include "numerics/small_float.h"

namespace fathom::test {

inline constexpr DType kBlockTypes[] = {DType::q4_0, DType::q4_1,   DType::q5_0, DType::q5_1,
                                        DType::q8_0, DType::iq4_nl, DType::q2_k, DType::q3_k,
                                        DType::q4_k, DType::q5_k,   DType::q6_k, DType::iq4_xs};

/// Where a block has its one or two scales in f16.
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
    default:
      return {0};
  }
}

/// Random blocks at an odd address, which use every code, and their values.
struct QuantWeights {
  QuantWeights(DType dtype, std::int64_t out, std::int64_t in, std::uint64_t seed)
      : bytes(stored_bytes(dtype, out * in) + 1), values(static_cast<std::size_t>(out * in)) {
    Rng rng(seed);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.next_u32());
    for (std::size_t block = 1; block < bytes.size(); block += block_bytes(dtype))
      for (const std::size_t place : scale_places(dtype)) {
        const F16 scale = F16::from_float(static_cast<float>(0.01 * rng.normal()));
        std::memcpy(bytes.data() + block + place, &scale.bits, sizeof(scale.bits));
      }
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
