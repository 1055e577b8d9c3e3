#include "kernels/gemm.h"

#include <string>

#include "base/error.h"
#include "kernels/blas_check.h"
#include "kernels/kernel_test.h"

namespace fathom {
namespace {

using kernels::Operand;
using kernels::Transpose;
using test::random_values;
using test::relative_error;

struct Size {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};

/// A product with every row a few elements longer than it needs, in both orders of each operand.
void expect_product(ThreadPool& pool, const Size& size, bool a_transposed, bool b_transposed, float beta) {
  const auto [m, n, k] = size;
  const std::int64_t a_stride = (a_transposed ? m : k) + 3;
  const std::int64_t b_stride = (b_transposed ? k : n) + 1;
  const std::int64_t c_stride = n + 2;
  const auto a = random_values(static_cast<std::size_t>((a_transposed ? k : m) * a_stride), 1);
  const auto b = random_values(static_cast<std::size_t>((b_transposed ? n : k) * b_stride), 2);
  std::vector<float> c = random_values(static_cast<std::size_t>(m * c_stride), 3);
  std::vector<double> expected(c.begin(), c.end());
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (std::int64_t p = 0; p < k; ++p)
        sum += double{a[static_cast<std::size_t>(a_transposed ? p * a_stride + i : i * a_stride + p)]} *
               b[static_cast<std::size_t>(b_transposed ? j * b_stride + p : p * b_stride + j)];
      double& out = expected[static_cast<std::size_t>(i * c_stride + j)];
      out = 0.5 * sum + beta * out;
    }
  kernels::gemm(pool, m, n, k, 0.5F, {a.data(), a_stride, Transpose{a_transposed}},
                {b.data(), b_stride, Transpose{b_transposed}}, beta, c.data(), c_stride);
  EXPECT_LT(relative_error(c, expected, 1.0), 2e-6) << m << " x " << n << " x " << k;
}

TEST(GemmTest, MatchesTheReferenceForEveryOrderAndStride) {
  ThreadPool pool(2);
  for (const Size& size :
       std::vector<Size>{{1, 1, 1}, {0, 5, 3}, {5, 0, 3}, {3, 5, 0}, {17, 33, 65}, {150, 200, 170}})
    for (const bool a_transposed : {false, true})
      for (const bool b_transposed : {false, true})
        for (const float beta : {0.0F, 1.0F}) expect_product(pool, size, a_transposed, b_transposed, beta);
}

TEST(GemmTest, BetaZeroOverwritesNaN) {
  ThreadPool pool(1);
  const std::vector<float> ones(64, 1.0F);
  std::vector<float> c(64, NAN);
  kernels::gemm(pool, 8, 8, 8, 1.0F, {ones.data(), 8}, {ones.data(), 8}, 0.0F, c.data(), 8);
  EXPECT_EQ(c, std::vector<float>(64, 8.0F));
}

TEST(GemmTest, TilesCoverTheProductAndStayWithinIt) {
  for (const Size& size :
       std::vector<Size>{{1, 1, 1}, {1, 100000, 512}, {2048, 512, 1408}, {63, 4097, 100}, {5000, 3, 7}}) {
    const kernels::GemmTiles tiles = kernels::gemm_tiles(size.m, size.n, size.k);
    EXPECT_GE(tiles.rows * tiles.down, size.m);
    EXPECT_GE(tiles.columns * tiles.across, size.n);
    EXPECT_LT(tiles.rows * (tiles.down - 1), size.m);
    EXPECT_LT(tiles.columns * (tiles.across - 1), size.n);
  }
}

TEST(GemmTest, LargeProductsGiveManyThreadsWork) {
  EXPECT_GE(kernels::gemm_tiles(2048, 512, 1408).count(), 16);
  EXPECT_GE(kernels::gemm_tiles(512, 512, 512).count(), 16);
  EXPECT_EQ(kernels::gemm_tiles(32, 32, 32).count(), 1);
}

TEST(GemmTest, DoesNotDependOnTheThreadCount) {
  const std::vector<float> a = random_values(300 * 200, 1);
  const std::vector<float> b = random_values(200 * 250, 2);
  test::expect_same_for_any_thread_count([&](ThreadPool& pool) {
    std::vector<float> c(300 * 250);
    kernels::gemm(pool, 300, 250, 200, 1.0F, {a.data(), 200}, {b.data(), 250}, 0.0F, c.data(), 250);
    return c;
  });
}

/// A plain product that adds `mistake` to the last element.
kernels::GemmUnderTest product_with(float mistake) {
  return [=](bool transposed, std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b,
             float* c) {
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        c[i * n + j] = 0.0F;
        for (std::int64_t p = 0; p < k; ++p)
          c[i * n + j] += transposed ? a[p * m + i] * b[p * n + j] : a[i * k + p] * b[j * k + p];
      }
    c[m * n - 1] += mistake;
  };
}

TEST(BlasCheckTest, AcceptsARightProduct) {
  EXPECT_NO_THROW(kernels::check_gemm(product_with(0.0F), "the test"));
}

TEST(BlasCheckTest, NamesTheWayOutOfAWrongOne) {
  try {
    kernels::check_gemm(product_with(1.0F), "the test");
    FAIL() << "a wrong product went unnoticed";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("OPENBLAS_CORETYPE"), std::string::npos);
  }
}

}  // namespace
}  // namespace fathom
