#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "kernels/kernel_test.h"
#include "kernels/linear.h"
#include "numerics/small_float.h"

namespace fathom::test {

/// A random weight matrix of a stored type at an odd address, and its values in double.
struct StoredWeights {
  StoredWeights(DType dtype, std::int64_t out, std::int64_t in, std::uint64_t seed) {
    const auto count = static_cast<std::size_t>(out * in);
    const std::size_t size = dtype_size(dtype);
    const std::vector<float> source = random_values(count, seed);
    bytes.resize(count * size + 1);
    const std::int64_t blocks = (in + 127) / 128;
    if (dtype == DType::f8_e4m3) {
      scales = random_values(static_cast<std::size_t>((out + 127) / 128 * blocks), seed + 1, 0.02);
      matrix.block_scale = scales.data();
    }
    for (std::size_t i = 0; i < count; ++i) {
      const auto row = static_cast<std::int64_t>(i) / in;
      const auto column = static_cast<std::int64_t>(i) % in;
      const double scale =
          scales.empty() ? 1.0 : double{scales[static_cast<std::size_t>(row / 128 * blocks + column / 128)]};
      values.push_back(scale * store(dtype, source[i], bytes.data() + 1 + i * size));
    }
    matrix.data = bytes.data() + 1;
    matrix.dtype = dtype;
    matrix.out = out;
    matrix.in = in;
  }
  StoredWeights(const StoredWeights&) = delete;
  StoredWeights& operator=(const StoredWeights&) = delete;

  std::vector<std::byte> bytes;
  std::vector<float> scales;
  std::vector<double> values;
  kernels::WeightMatrix matrix;

 private:
  template <typename Small>
  static double store_as(float value, std::byte* to) {
    const Small small = Small::from_float(value);
    std::memcpy(to, &small.bits, sizeof(small.bits));
    return small.to_float();
  }
  static double store(DType dtype, float value, std::byte* to) {
    switch (dtype) {
      case DType::bf16:
        return store_as<Bf16>(value, to);
      case DType::f16:
        return store_as<F16>(value, to);
      case DType::f8_e4m3:
        return store_as<F8E4M3>(value, to);
      default:
        std::memcpy(to, &value, sizeof(value));
        return value;
    }
  }
};

/// x[tokens, in] · Wᵀ in double.
inline std::vector<double> reference_linear(const std::vector<float>& x, std::int64_t tokens,
                                            const StoredWeights& w) {
  std::vector<double> y;
  const auto in = static_cast<std::size_t>(w.matrix.in);
  for (std::size_t t = 0; t < static_cast<std::size_t>(tokens); ++t)
    for (std::size_t o = 0; o < static_cast<std::size_t>(w.matrix.out); ++o) {
      double sum = 0.0;
      for (std::size_t i = 0; i < in; ++i) sum += double{x[t * in + i]} * w.values[o * in + i];
      y.push_back(sum);
    }
  return y;
}

}  // namespace fathom::test
