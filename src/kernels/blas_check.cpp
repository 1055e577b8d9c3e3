#include "kernels/blas_check.h"

#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace fathom::kernels {
namespace {

struct Size {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};

// Below, across and above the inner kernels' usual blocks of 4 to 32.
constexpr std::array<Size, 4> kSizes = {{{1, 17, 5}, {3, 50, 33}, {19, 31, 67}, {34, 65, 40}}};

/// Small whole numbers: their products and sums are exact in f32, so that any difference is a mistake.
std::vector<float> small_integers(std::int64_t count, std::uint32_t state) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(static_cast<std::int32_t>(state >> 28U)) - 7.0F;
  }
  return values;
}

}  // namespace

void check_gemm(const GemmUnderTest& gemm, std::string_view library) {
  for (const Size& size : kSizes)
    for (const bool transposed : {false, true}) {
      const std::vector<float> a = small_integers(size.m * size.k, 1);
      const std::vector<float> b = small_integers(size.n * size.k, 2);
      std::vector<float> c(static_cast<std::size_t>(size.m * size.n), NAN);
      gemm(transposed, size.m, size.n, size.k, a.data(), b.data(), c.data());
      for (std::int64_t i = 0; i < size.m; ++i)
        for (std::int64_t j = 0; j < size.n; ++j) {
          float expected = 0.0F;
          for (std::int64_t p = 0; p < size.k; ++p)
            expected += transposed ? a[static_cast<std::size_t>(p * size.m + i)] *
                                         b[static_cast<std::size_t>(p * size.n + j)]
                                   : a[static_cast<std::size_t>(i * size.k + p)] *
                                         b[static_cast<std::size_t>(j * size.k + p)];
          require(
              c[static_cast<std::size_t>(i * size.n + j)] == expected,
              "{} multiplies matrices wrongly on this CPU ([{}, {}] x [{}, {}]): set OPENBLAS_CORETYPE, for "
              "example to Haswell on x86, or install a newer OpenBLAS",
              library, size.m, size.k, size.k, size.n);
        }
    }
}

}  // namespace fathom::kernels
