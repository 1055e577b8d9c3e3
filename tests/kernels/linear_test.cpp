#include "kernels/linear.h"

#include "base/error.h"
#include "kernels/kernel_test.h"
#include "kernels/stream_linear.h"
#include "kernels/weights.h"

namespace fathom {
namespace {

using kernels::WeightMatrix;
using test::for_each_target;
using test::random_values;
using test::reference_linear;
using test::relative_error;
using test::StoredWeights;

const std::vector<DType> kTypes = {DType::f32, DType::bf16, DType::f16, DType::f8_e4m3};

struct Size {
  std::int64_t out;
  std::int64_t in;
};
// Rests of vectors and of groups of four rows; partial and whole scale blocks; more than one panel and item.
const std::vector<Size> kSizes = {{1, 1}, {3, 7}, {5, 130}, {130, 33}, {129, 257}, {260, 2100}, {6, 7000}};

std::vector<float> forward(ThreadPool& pool, const std::vector<float>& x, std::int64_t tokens,
                           const WeightMatrix& w) {
  std::vector<float> y(static_cast<std::size_t>(tokens * w.out), NAN);
  kernels::linear_forward(pool, x.data(), tokens, w, y.data());
  return y;
}

TEST(LinearTest, ForwardMatchesTheReferenceForEveryType) {
  ThreadPool pool(2);
  for (const DType dtype : kTypes)
    for (const Size& size : kSizes) {
      const StoredWeights w(dtype, size.out, size.in, 1);
      const std::vector<float> x = random_values(static_cast<std::size_t>(51 * size.in), 2);
      const std::vector<double> expected = reference_linear(x, 51, w);
      for_each_target([&] {
        for (const std::int64_t tokens : {0, 1, 2, 3, 7, 8, 20, 51}) {
          const std::vector<double> rows(expected.begin(), expected.begin() + tokens * size.out);
          // f32 sums of up to 7,000 products.
          EXPECT_LT(relative_error(forward(pool, x, tokens, w.matrix), rows), 5e-6)
              << dtype_name(dtype) << " " << size.out << " x " << size.in << ", " << tokens << " tokens";
        }
      });
    }
}

TEST(LinearTest, AStreamedTokenDoesNotDependOnItsCompany) {
  ThreadPool pool(2);
  for (const DType dtype : kTypes) {
    const StoredWeights w(dtype, 131, 300, 1);
    const std::vector<float> x = random_values(15 * 300, 2);
    for_each_target([&] {
      const std::vector<float> together = forward(pool, x, 15, w.matrix);
      for (std::int64_t t = 0; t < 15; ++t) {
        const std::vector<float> own(x.begin() + t * 300, x.begin() + (t + 1) * 300);
        const std::vector<float> expected(together.begin() + t * 131, together.begin() + (t + 1) * 131);
        EXPECT_EQ(forward(pool, own, 1, w.matrix), expected) << dtype_name(dtype) << " token " << t;
      }
    });
  }
}

TEST(LinearTest, DoesNotDependOnTheThreadCount) {
  for (const DType dtype : kTypes) {
    const StoredWeights w(dtype, 700, 513, 1);
    const std::vector<float> x = random_values(70 * 513, 2);
    for (const std::int64_t tokens : {1, 5, 70})
      test::expect_same_for_any_thread_count(
          [&](ThreadPool& pool) { return forward(pool, x, tokens, w.matrix); });
  }
}

template <typename Small>
void expect_exact_widening(DType dtype) {
  constexpr std::size_t kCodes = std::size_t{1} << (8 * sizeof(Small));
  std::vector<decltype(Small::bits)> codes(kCodes + 3);  // three more: the vectors' rest
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<decltype(Small::bits)>(i);
  const WeightMatrix w{codes.data(), dtype, 1, static_cast<std::int64_t>(codes.size()), nullptr};
  for_each_target([&] {
    std::vector<float> values(codes.size());
    kernels::expand_weights(w, 0, 1, 0, w.in, values.data());
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const float expected = Small{codes[i]}.to_float();
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(values[i])) << dtype_name(dtype) << " code " << i;
      } else {
        ASSERT_EQ(values[i], expected) << dtype_name(dtype) << " code " << i;
        ASSERT_EQ(std::signbit(values[i]), std::signbit(expected)) << dtype_name(dtype) << " code " << i;
      }
    }
  });
}

TEST(LinearTest, EveryCodeOfANarrowTypeWidensExactly) {
  expect_exact_widening<Bf16>(DType::bf16);
  expect_exact_widening<F16>(DType::f16);
  expect_exact_widening<F8E4M3>(DType::f8_e4m3);
}

TEST(LinearTest, ANanWeightMakesItsOwnRowNan) {
  ThreadPool pool(1);
  for (const std::uint8_t code : {0x7F, 0xFF})
    for (const std::size_t column : {0U, 70U, 201U}) {  // the last in the vectors' rest
      std::vector<std::uint8_t> codes(std::size_t{6} * 202, F8E4M3::from_float(1.0F).bits);
      codes[4 * 202 + column] = code;
      const WeightMatrix w{codes.data(), DType::f8_e4m3, 6, 202, nullptr};
      const std::vector<float> x(std::size_t{5} * 202, 0.5F);
      for_each_target([&] {
        for (const std::int64_t tokens : {1, 5}) {
          const std::vector<float> y = forward(pool, x, tokens, w);
          for (std::size_t i = 0; i < y.size(); ++i) {
            if (i % 6 == 4) {
              EXPECT_TRUE(std::isnan(y[i]));
            } else {
              EXPECT_EQ(y[i], 101.0F);
            }
          }
        }
      });
    }
}

TEST(LinearTest, Fp8ProductsKeepTheirBitsFarFromOne) {
  ThreadPool pool(1);
  const std::vector<std::uint8_t> codes = {0x01, 0x7E};  // 2^-9, 448
  const WeightMatrix w{codes.data(), DType::f8_e4m3, 1, 2, nullptr};
  for (const float magnitude : {1e-12F, 1e-6F, 1.0F, 1e6F, 1e17F})
    for_each_target([&] {
      const std::vector<float> x = {448 * magnitude, magnitude};
      EXPECT_FLOAT_EQ(forward(pool, x, 1, w).front(), magnitude * (448.0F + 448.0F / 512.0F));
    });
}

TEST(LinearTest, OtherTypesAreAnError) {
  ThreadPool pool(1);
  const std::vector<std::int32_t> data(64);
  const std::vector<float> x(9 * 8);
  const WeightMatrix w{data.data(), DType::i32, 8, 8, nullptr};
  EXPECT_THROW(forward(pool, x, 1, w), Error);
  EXPECT_THROW(forward(pool, x, 9, w), Error);
  std::vector<float> dx(8);
  EXPECT_THROW(kernels::linear_backward_input(pool, x.data(), 1, w, dx.data(), false), Error);
}

TEST(LinearTest, GradientsMatchTheReference) {
  ThreadPool pool(2);
  for (const Size& size : kSizes)
    for (const std::int64_t tokens : {0, 1, 8, 33}) {
      const StoredWeights w(DType::f32, size.out, size.in, 1);
      const std::vector<float> x = random_values(static_cast<std::size_t>(tokens * size.in), 2);
      const std::vector<float> dy = random_values(static_cast<std::size_t>(tokens * size.out), 3);
      std::vector<float> dx = random_values(x.size(), 4);
      std::vector<float> dw = random_values(w.values.size(), 5);
      std::vector<double> dx_alone(dx.size());
      std::vector<double> dx_added(dx.begin(), dx.end());
      std::vector<double> dw_added(dw.begin(), dw.end());
      for (std::int64_t t = 0; t < tokens; ++t)
        for (std::int64_t o = 0; o < size.out; ++o)
          for (std::int64_t i = 0; i < size.in; ++i) {
            const double delta = dy[static_cast<std::size_t>(t * size.out + o)];
            const auto at_w = static_cast<std::size_t>(o * size.in + i);
            const auto at_x = static_cast<std::size_t>(t * size.in + i);
            dx_alone[at_x] += delta * w.values[at_w];
            dw_added[at_w] += delta * x[at_x];
          }
      for (std::size_t i = 0; i < dx.size(); ++i) dx_added[i] += dx_alone[i];
      kernels::linear_backward_input(pool, dy.data(), tokens, w.matrix, dx.data(), true);
      EXPECT_LT(relative_error(dx, dx_added), 2e-6);
      kernels::linear_backward_input(pool, dy.data(), tokens, w.matrix, dx.data(), false);
      EXPECT_LT(relative_error(dx, dx_alone), 2e-6);
      kernels::linear_backward_weight(pool, dy.data(), x.data(), tokens, size.out, size.in, dw.data());
      EXPECT_LT(relative_error(dw, dw_added), 2e-6);
    }
}

}  // namespace
}  // namespace fathom
