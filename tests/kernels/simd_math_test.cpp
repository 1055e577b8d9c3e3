#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd_math_test.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void ExpOf(const float* x, std::size_t count, float* out) {
  const DF d;
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    const std::size_t n = std::min(hn::Lanes(d), count - i);
    StoreSome(Exp(d, LoadSome(d, x + i, n)), d, out + i, n);
  }
}

double SumOf(const float* x, std::size_t count) {
  return Sum(x, count);
}

float DotOf(const float* a, const float* b, std::size_t count) {
  return Dot(a, b, count);
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/kernel_test.h"

namespace fathom::kernels {
namespace {

HWY_EXPORT(ExpOf);
HWY_EXPORT(SumOf);
HWY_EXPORT(DotOf);

using test::for_each_target;
using test::random_values;

TEST(SimdMathTest, ExpIsWithinOneUlp) {
  std::vector<float> x;
  for (double value = -87.3; value < 88.72; value += 0.00171) x.push_back(static_cast<float>(value));
  for_each_target([&] {
    std::vector<float> y(x.size());
    HWY_DYNAMIC_DISPATCH(ExpOf)(x.data(), x.size(), y.data());
    double worst = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = std::exp(double{x[i]});
      const double ulp = std::ldexp(1.0, std::ilogb(expected) - 23);
      worst = std::max(worst, std::abs(y[i] - expected) / ulp);
    }
    EXPECT_LE(worst, 1.0);
  });
}

TEST(SimdMathTest, ExpIsRightAtBothEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {-kInfinity, -1e30F,    -104.0F, -103.0F, -90.0F,    -0.0F,
                                0.0F,       88.72283F, 88.8F,   1e30F,   kInfinity, std::nanf("")};
  for_each_target([&] {
    std::vector<float> y(x.size());
    HWY_DYNAMIC_DISPATCH(ExpOf)(x.data(), x.size(), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float expected = std::exp(x[i]);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(y[i])) << x[i];
      } else if (std::isinf(expected)) {
        EXPECT_EQ(y[i], expected) << x[i];
      } else {
        EXPECT_NEAR(y[i], expected, 2e-7 * expected + 1.5e-45) << x[i];
      }
    }
  });
}

TEST(SimdMathTest, SumsOfAnyLengthMatchTheReference) {
  for_each_target([&] {
    for (const std::size_t count : {0, 1, 3, 8, 31, 64, 65, 5000}) {
      const std::vector<float> a = random_values(count, 1);
      const std::vector<float> b = random_values(count, 2);
      double sum = 0.0;
      double dot = 0.0;
      for (std::size_t i = 0; i < count; ++i) {
        sum += a[i];
        dot += double{a[i]} * b[i];
      }
      const double size = std::sqrt(static_cast<double>(count) + 1.0);
      EXPECT_NEAR(HWY_DYNAMIC_DISPATCH(SumOf)(a.data(), count), sum, 1e-6 * size) << count;
      EXPECT_NEAR(HWY_DYNAMIC_DISPATCH(DotOf)(a.data(), b.data(), count), dot, 1e-6 * size) << count;
    }
  });
}

}  // namespace
}  // namespace fathom::kernels
#endif  // HWY_ONCE
