#include "kernels/swiglu.h"

#include <limits>

#include "kernels/kernel_test.h"

namespace fathom {
namespace {

using test::for_each_target;
using test::random_values;
using test::relative_error;

double silu(double x) {
  return x / (1.0 + std::exp(-x));
}

const std::vector<std::size_t> kCounts = {0, 1, 3, 16, 37, 40000};

TEST(SwigluTest, MatchesItsFormula) {
  ThreadPool pool(2);
  for_each_target([&] {
    for (const std::size_t count : kCounts) {
      const std::vector<float> gate = random_values(count + 1, 1, 4.0);
      const std::vector<float> up = random_values(count + 1, 2);
      std::vector<float> out(count);
      std::vector<double> expected(count);
      for (std::size_t i = 0; i < count; ++i) expected[i] = silu(gate[i + 1]) * up[i + 1];
      kernels::swiglu_forward(pool, gate.data() + 1, up.data() + 1, static_cast<std::int64_t>(count),
                              out.data());
      for (std::size_t i = 0; i < count; ++i)  // exp, division, two products: each value to a few ulp
        ASSERT_NEAR(out[i], expected[i], 1e-6 * std::abs(expected[i])) << gate[i + 1];
    }
  });
}

TEST(SwigluTest, SaturatesWithoutNaN) {
  ThreadPool pool(1);
  for_each_target([&] {
    std::vector<float> gate = {
        -1e30F, -200.0F, -90.0F, 0.0F, 90.0F, 1e30F, std::numeric_limits<float>::quiet_NaN()};
    const std::vector<float> up(gate.size(), 1.0F);
    kernels::swiglu_forward(pool, gate.data(), up.data(), static_cast<std::int64_t>(gate.size()),
                            gate.data());
    EXPECT_EQ(gate[0], 0.0F);
    EXPECT_EQ(gate[1], 0.0F);
    EXPECT_NEAR(gate[2], 0.0, 1e-36);
    EXPECT_EQ(gate[3], 0.0F);
    EXPECT_EQ(gate[4], 90.0F);
    EXPECT_EQ(gate[5], 1e30F);
    EXPECT_TRUE(std::isnan(gate[6]));
  });
}

TEST(SwigluTest, BackwardMatchesItsFormula) {
  ThreadPool pool(2);
  for_each_target([&] {
    for (const std::size_t count : kCounts) {
      const std::vector<float> gate = random_values(count, 1, 3.0);
      const std::vector<float> up = random_values(count, 2);
      const std::vector<float> dproduct = random_values(count, 3);
      std::vector<float> dgate(count);
      std::vector<float> dup(count);
      std::vector<float> product(count);
      std::vector<double> expected_gate(count);
      std::vector<double> expected_up(count);
      std::vector<double> expected_product(count);
      for (std::size_t i = 0; i < count; ++i) {
        const double sigmoid = 1.0 / (1.0 + std::exp(-double{gate[i]}));
        expected_gate[i] = dproduct[i] * up[i] * sigmoid * (1.0 + gate[i] * (1.0 - sigmoid));
        expected_up[i] = dproduct[i] * silu(gate[i]);
        expected_product[i] = silu(gate[i]) * up[i];
      }
      kernels::swiglu_backward(pool, dproduct.data(), gate.data(), up.data(),
                               static_cast<std::int64_t>(count), dgate.data(), dup.data(), product.data());
      EXPECT_LT(relative_error(dgate, expected_gate), 1e-6);
      EXPECT_LT(relative_error(dup, expected_up), 1e-6);
      EXPECT_LT(relative_error(product, expected_product), 1e-6);
    }
  });
}

TEST(SwigluTest, BackwardMatchesFiniteDifferences) {
  ThreadPool pool(1);
  constexpr std::int64_t kCount = 21;
  std::vector<float> gate = random_values(kCount, 1, 2.0);
  std::vector<float> up = random_values(kCount, 2);
  const std::vector<float> ones(kCount, 1.0F);
  std::vector<float> dgate(kCount);
  std::vector<float> dup(kCount);
  std::vector<float> product(kCount);
  kernels::swiglu_backward(pool, ones.data(), gate.data(), up.data(), kCount, dgate.data(), dup.data(),
                           product.data());
  constexpr float kStep = 1.0F / 128;
  const auto slopes = [&](std::vector<float>& at) {
    std::vector<float> above(kCount);
    std::vector<float> below(kCount);
    for (float& value : at) value += kStep;
    kernels::swiglu_forward(pool, gate.data(), up.data(), kCount, above.data());
    for (float& value : at) value -= 2 * kStep;
    kernels::swiglu_forward(pool, gate.data(), up.data(), kCount, below.data());
    for (float& value : at) value += kStep;
    for (std::size_t i = 0; i < above.size(); ++i) above[i] = (above[i] - below[i]) / (2 * kStep);
    return above;
  };
  // Rounding of the product (some 1e-7) over the step, and the third derivative times its square.
  EXPECT_LT(relative_error(dgate, slopes(gate)), 2e-4);
  EXPECT_LT(relative_error(dup, slopes(up)), 2e-4);
}

TEST(SwigluTest, DoesNotDependOnTheThreadCount) {
  const std::vector<float> gate = random_values(50001, 1);
  const std::vector<float> up = random_values(50001, 2);
  test::expect_same_for_any_thread_count([&](ThreadPool& pool) {
    std::vector<float> out(50001);
    kernels::swiglu_forward(pool, gate.data(), up.data(), 50001, out.data());
    return out;
  });
}

}  // namespace
}  // namespace fathom
