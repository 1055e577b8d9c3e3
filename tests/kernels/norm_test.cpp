#include "kernels/norm.h"

#include "kernels/kernel_test.h"

namespace fathom {
namespace {

using test::for_each_target;
using test::random_values;
using test::relative_error;

constexpr double kEps = 1e-6;

struct Norm {
  std::int64_t tokens;
  std::int64_t dim;
  std::int64_t stride;
  std::vector<float> x = random_values(static_cast<std::size_t>(tokens * stride) + 1, 1);
  std::vector<float> dy = random_values(static_cast<std::size_t>(tokens * stride) + 1, 2);
  std::vector<float> weight = random_values(static_cast<std::size_t>(dim) + 1, 3);

  // One past the start: rows that no vector is aligned to.
  [[nodiscard]] const float* x_data() const { return x.data() + 1; }
  [[nodiscard]] const float* dy_data() const { return dy.data() + 1; }
  [[nodiscard]] const float* weight_data() const { return weight.data() + 1; }

  [[nodiscard]] double inverse_rms(std::int64_t t) const {
    double sum = 0.0;
    for (std::int64_t i = 0; i < dim; ++i) sum += std::pow(double{x_data()[t * stride + i]}, 2);
    return 1.0 / std::sqrt(sum / static_cast<double>(dim) + kEps);
  }
};

// Lane-wise f32 sums of at most 2,048 values: a few units of 6e-8.
constexpr double kTolerance = 1e-6;

const std::vector<Norm> kShapes = {{0, 8, 8},   {1, 1, 1},    {3, 7, 9},
                                   {2, 33, 40}, {70, 64, 64}, {5, 5000, 5001}};

TEST(RmsNormTest, MatchesItsFormula) {
  ThreadPool pool(2);
  for_each_target([&] {
    for (const Norm& norm : kShapes) {
      std::vector<double> expected;
      std::vector<float> y(static_cast<std::size_t>(norm.tokens * norm.dim));
      for (std::int64_t t = 0; t < norm.tokens; ++t) {
        const double s = norm.inverse_rms(t);
        for (std::int64_t i = 0; i < norm.dim; ++i)
          expected.push_back(norm.x_data()[t * norm.stride + i] * s * norm.weight_data()[i]);
      }
      kernels::rmsnorm_forward(pool, norm.x_data(), norm.stride, norm.weight_data(), kEps, norm.tokens,
                               norm.dim, y.data(), norm.dim);
      EXPECT_LT(relative_error(y, expected), kTolerance) << norm.tokens << " x " << norm.dim;
    }
  });
}

TEST(RmsNormTest, WritesASliceOfWiderRowsAndNothingElse) {
  ThreadPool pool(1);
  const Norm norm{4, 5, 5};
  std::vector<float> y(4 * 8, -7.0F);
  kernels::rmsnorm_forward(pool, norm.x_data(), 5, norm.weight_data(), kEps, 4, 5, y.data() + 2, 8);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i] == -7.0F, i % 8 < 2 || i % 8 == 7) << i;
}

TEST(RmsNormTest, InPlaceGivesTheSame) {
  ThreadPool pool(1);
  const Norm norm{3, 37, 37};
  std::vector<float> apart(3 * 37);
  kernels::rmsnorm_forward(pool, norm.x_data(), 37, norm.weight_data(), kEps, 3, 37, apart.data(), 37);
  std::vector<float> in_place(norm.x.begin() + 1, norm.x.end());
  kernels::rmsnorm_forward(pool, in_place.data(), 37, norm.weight_data(), kEps, 3, 37, in_place.data(), 37);
  EXPECT_EQ(in_place, apart);
}

TEST(RmsNormTest, InputGradientMatchesItsFormulaAndAccumulates) {
  ThreadPool pool(2);
  for_each_target([&] {
    for (const Norm& norm : kShapes) {
      std::vector<float> dx = random_values(static_cast<std::size_t>(norm.tokens * norm.dim), 4);
      std::vector<double> expected(dx.begin(), dx.end());
      std::vector<double> alone(dx.size());
      for (std::int64_t t = 0; t < norm.tokens; ++t) {
        const double s = norm.inverse_rms(t);
        double product = 0.0;
        for (std::int64_t i = 0; i < norm.dim; ++i)
          product += double{norm.dy_data()[t * norm.stride + i]} * norm.weight_data()[i] *
                     norm.x_data()[t * norm.stride + i];
        for (std::int64_t i = 0; i < norm.dim; ++i) {
          const double grad =
              s * norm.dy_data()[t * norm.stride + i] * norm.weight_data()[i] -
              norm.x_data()[t * norm.stride + i] * s * s * s * product / static_cast<double>(norm.dim);
          expected[static_cast<std::size_t>(t * norm.dim + i)] += grad;
          alone[static_cast<std::size_t>(t * norm.dim + i)] = grad;
        }
      }
      for (const bool accumulate : {true, false}) {
        kernels::rmsnorm_backward_input(pool, norm.dy_data(), norm.stride, norm.x_data(), norm.stride,
                                        norm.weight_data(), kEps, norm.tokens, norm.dim, dx.data(), norm.dim,
                                        accumulate);
        EXPECT_LT(relative_error(dx, accumulate ? expected : alone, 1.0), 4 * kTolerance)
            << norm.tokens << " x " << norm.dim;
      }
    }
  });
}

TEST(RmsNormTest, GradientsMatchFiniteDifferences) {
  ThreadPool pool(1);
  const Norm norm{2, 19, 19};
  const auto loss = [&](const std::vector<float>& x, const std::vector<float>& weight) {
    std::vector<float> y(2 * 19);
    kernels::rmsnorm_forward(pool, x.data(), 19, weight.data(), kEps, 2, 19, y.data(), 19);
    double sum = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += double{y[i]} * norm.dy_data()[i];
    return sum;
  };
  std::vector<float> x(norm.x.begin() + 1, norm.x.end());
  std::vector<float> weight(norm.weight.begin() + 1, norm.weight.end());
  std::vector<float> dx(x.size());
  std::vector<float> dweight(weight.size());
  kernels::rmsnorm_backward_input(pool, norm.dy_data(), 19, x.data(), 19, weight.data(), kEps, 2, 19,
                                  dx.data(), 19, false);
  kernels::rmsnorm_backward_weight(pool, norm.dy_data(), 19, x.data(), 19, kEps, 2, 19, dweight.data());
  const auto slope = [&](std::vector<float>& at, std::size_t i) {
    constexpr float kStep = 1.0F / 128;
    const float kept = at[i];
    at[i] = kept + kStep;
    const double above = loss(x, weight);
    at[i] = kept - kStep;
    const double below = loss(x, weight);
    at[i] = kept;
    return (above - below) / (2.0 * kStep);
  };
  // f32 rounding of the loss over the step, and the curvature over it: about 1e-4.
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(dx[i], slope(x, i), 5e-4) << i;
  for (std::size_t i = 0; i < weight.size(); ++i) EXPECT_NEAR(dweight[i], slope(weight, i), 5e-4) << i;
}

TEST(RmsNormTest, WeightGradientAddsOverTokens) {
  ThreadPool pool(2);
  for_each_target([&] {
    for (const Norm& norm : kShapes) {
      std::vector<float> dweight = random_values(static_cast<std::size_t>(norm.dim), 5);
      std::vector<double> expected(dweight.begin(), dweight.end());
      for (std::int64_t t = 0; t < norm.tokens; ++t) {
        const double s = norm.inverse_rms(t);
        for (std::int64_t i = 0; i < norm.dim; ++i)
          expected[static_cast<std::size_t>(i)] +=
              double{norm.dy_data()[t * norm.stride + i]} * norm.x_data()[t * norm.stride + i] * s;
      }
      kernels::rmsnorm_backward_weight(pool, norm.dy_data(), norm.stride, norm.x_data(), norm.stride, kEps,
                                       norm.tokens, norm.dim, dweight.data());
      EXPECT_LT(relative_error(dweight, expected), kTolerance) << norm.tokens << " x " << norm.dim;
    }
  });
}

TEST(RmsNormTest, DoesNotDependOnTheThreadCount) {
  const Norm norm{301, 130, 130};
  test::expect_same_for_any_thread_count([&](ThreadPool& pool) {
    std::vector<float> out(2 * 301 * 130 + 130);
    float* dx = out.data() + 301 * 130;
    kernels::rmsnorm_forward(pool, norm.x_data(), 130, norm.weight_data(), kEps, 301, 130, out.data(), 130);
    kernels::rmsnorm_backward_input(pool, norm.dy_data(), 130, norm.x_data(), 130, norm.weight_data(), kEps,
                                    301, 130, dx, 130, false);
    kernels::rmsnorm_backward_weight(pool, norm.dy_data(), 130, norm.x_data(), 130, kEps, 301, 130,
                                     dx + 301 * 130);
    return out;
  });
}

}  // namespace
}  // namespace fathom
