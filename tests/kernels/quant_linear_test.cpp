#include "kernels/quant_linear.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/grouped_linear.h"
#include "kernels/kernel_test.h"
#include "kernels/quant_weights.h"

namespace fathom {
namespace {

using kernels::ActivationBlock;
using kernels::QuantizedRows;
using test::for_each_target;
using test::kBlockTypes;
using test::QuantWeights;
using test::random_values;

/// What a quantised row stands for.
std::vector<double> values_of(const QuantizedRows& x, std::int64_t row) {
  std::vector<double> values;
  for (std::int64_t b = 0; b < x.columns() / ActivationBlock::kValues; ++b)
    for (const std::int8_t code : x.row(row)[b].codes) values.push_back(double{x.row(row)[b].scale} * code);
  return values;
}

TEST(QuantizeRowsTest, EveryValueIsWithinHalfAStep) {
  ThreadPool pool(2);
  const std::vector<float> x = random_values(5 * 96, 1);
  for_each_target([&] {
    const QuantizedRows quantized = kernels::quantize_rows(pool, x.data(), 4, 96, 120);
    for (std::int64_t row = 0; row < 4; ++row) {
      const std::vector<double> values = values_of(quantized, row);
      for (std::int64_t i = 0; i < 96; ++i) {
        const ActivationBlock& block = quantized.row(row)[i / 32];
        const double given = x[static_cast<std::size_t>(row * 120 + i)];
        ASSERT_LE(std::abs(values[static_cast<std::size_t>(i)] - given), 0.5001 * double{block.scale})
            << row << " " << i;
      }
    }
  });
}

TEST(QuantizeRowsTest, SumsAreOfWhatTheCodesStandFor) {
  ThreadPool pool(1);
  const std::vector<float> x = random_values(64, 2);
  for_each_target([&] {
    const QuantizedRows quantized = kernels::quantize_rows(pool, x.data(), 1, 64, 64);
    const std::vector<double> values = values_of(quantized, 0);
    for (std::size_t b = 0; b < 2; ++b) {
      double halves[2] = {0, 0};
      for (std::size_t i = 0; i < 32; ++i) halves[i / 16] += values[32 * b + i];
      EXPECT_NEAR(quantized.row(0)[b].half_sums[0], halves[0], 1e-5);
      EXPECT_NEAR(quantized.row(0)[b].half_sums[1], halves[1], 1e-5);
      EXPECT_NEAR(quantized.row(0)[b].sum, halves[0] + halves[1], 1e-5);
    }
  });
}

TEST(QuantizeRowsTest, ZerosAndTinyValuesAreZeroAndWhatIsNoNumberMakesItsBlockNaN) {
  ThreadPool pool(1);
  std::vector<float> x(128, 0.0F);
  x[40] = 1e-40F;
  x[70] = std::numeric_limits<float>::infinity();
  x[100] = std::numeric_limits<float>::quiet_NaN();
  for_each_target([&] {
    const QuantizedRows quantized = kernels::quantize_rows(pool, x.data(), 1, 128, 128);
    EXPECT_EQ(quantized.row(0)[0].scale, 0.0F);
    EXPECT_EQ(quantized.row(0)[1].scale, 0.0F);
    EXPECT_EQ(quantized.row(0)[1].sum, 0.0F);
    EXPECT_TRUE(std::isnan(quantized.row(0)[2].scale));
    EXPECT_TRUE(std::isnan(quantized.row(0)[3].sum));
  });
}

class QuantLinearTest : public testing::TestWithParam<DType> {};

std::string type_name(const testing::TestParamInfo<DType>& type) {
  return std::string(dtype_name(type.param));
}
INSTANTIATE_TEST_SUITE_P(Types, QuantLinearTest, testing::ValuesIn(kBlockTypes), type_name);

TEST_P(QuantLinearTest, ProductsAreThoseOfTheDecodedWeights) {
  ThreadPool pool(1);
  struct Size {
    std::int64_t out, in, tokens;
  };
  // More than a panel of rows and part of one; one chunk of columns, several, and part of one; few tokens
  // and so many that several panels are laid out together.
  for (const Size size :
       {Size{37, 512, 5}, Size{16, 2048 + 256, 1}, Size{70, 4096 + 512, 19}, Size{3, 256, 2}}) {
    const QuantWeights w(GetParam(), size.out, size.in, 3);
    const std::vector<float> x = random_values(static_cast<std::size_t>(size.tokens * size.in), 4);
    for_each_target([&] {
      const QuantizedRows quantized = kernels::quantize_rows(pool, x.data(), size.tokens, size.in, size.in);
      std::vector<float> y(static_cast<std::size_t>(size.tokens * size.out), -1.0F);
      kernels::quant_product({w.matrix, 0, size.out, &quantized, nullptr, size.tokens, y.data(), size.out});
      for (std::int64_t t = 0; t < size.tokens; ++t) {
        const std::vector<double> values = values_of(quantized, t);
        for (std::int64_t o = 0; o < size.out; ++o) {
          double sum = 0.0;
          double magnitude = 0.0;
          for (std::int64_t i = 0; i < size.in; ++i) {
            const double product = double{w.values[static_cast<std::size_t>(o * size.in + i)]} *
                                   values[static_cast<std::size_t>(i)];
            sum += product;
            magnitude += std::abs(product);
          }
          // f32 sums of integer products; an offset is summed apart from its codes, each as large as a block.
          ASSERT_NEAR(y[static_cast<std::size_t>(t * size.out + o)], sum, 4e-6 * magnitude)
              << size.out << " x " << size.in << ", row " << o << ", token " << t;
        }
      }
    });
  }
}

TEST_P(QuantLinearTest, AResultDependsOnNoOtherTokenOrRow) {
  ThreadPool pool(1);
  constexpr std::int64_t kOut = 45;
  constexpr std::int64_t kIn = 2304;
  constexpr std::int64_t kTokens = 21;
  const QuantWeights w(GetParam(), kOut, kIn, 5);
  const std::vector<float> x = random_values(static_cast<std::size_t>(kTokens * kIn), 6);
  for_each_target([&] {
    const QuantizedRows quantized = kernels::quantize_rows(pool, x.data(), kTokens, kIn, kIn);
    std::vector<float> all(static_cast<std::size_t>(kTokens * kOut));
    kernels::quant_product({w.matrix, 0, kOut, &quantized, nullptr, kTokens, all.data(), kOut});
    for (const std::int32_t token : {0, 7, 20})
      for (const std::int64_t begin : {std::int64_t{0}, std::int64_t{17}, std::int64_t{44}}) {
        std::vector<float> alone(static_cast<std::size_t>(kOut - begin));
        kernels::quant_product({w.matrix, begin, kOut, &quantized, &token, 1, alone.data(), kOut});
        EXPECT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + token * kOut + begin))
            << token << " " << begin;
      }
  });
}

TEST_P(QuantLinearTest, WhatIsNoNumberStaysNone) {
  ThreadPool pool(1);
  QuantWeights w(GetParam(), 20, 256, 7);
  std::vector<float> x = random_values(2 * 256, 8);
  x[300] = std::numeric_limits<float>::quiet_NaN();
  // The third row's first scale is infinite.
  test::set_scales(GetParam(), std::numeric_limits<float>::infinity(),
                   w.bytes.data() + 1 + 2 * stored_bytes(GetParam(), 256));
  for_each_target([&] {
    std::vector<float> y(40);
    kernels::linear_forward(pool, x.data(), 2, w.matrix, y.data());
    for (std::size_t o = 0; o < 20; ++o) {
      EXPECT_EQ(std::isfinite(y[o]), o != 2) << o;
      EXPECT_TRUE(std::isnan(y[20 + o])) << o;
    }
  });
}

TEST(QuantGroupedTest, JobsOfManyTypesAndInputsGoTogether) {
  ThreadPool pool(3);
  const QuantWeights a(DType::q4_0, 200, 512, 9);
  const QuantWeights b(DType::q6_k, 33, 512, 10);
  const std::vector<float> plain = random_values(24 * 512, 11);
  const std::vector<float> x = random_values(20 * 512, 12);
  const kernels::WeightMatrix f32{plain.data(), DType::f32, 24, 512, nullptr};
  std::vector<float> y[4];
  const kernels::LinearForward jobs[] = {{a.matrix, x.data(), 20, nullptr},
                                         {f32, x.data(), 20, nullptr},
                                         {b.matrix, x.data(), 20, nullptr},
                                         {b.matrix, x.data() + 512, 3, nullptr}};
  std::vector<kernels::LinearForward> together(std::begin(jobs), std::end(jobs));
  for (std::size_t j = 0; j < 4; ++j) {
    y[j].resize(static_cast<std::size_t>(jobs[j].tokens * jobs[j].w.out));
    together[j].y = y[j].data();
  }
  kernels::grouped_linear_forward(pool, together);
  for (std::size_t j = 0; j < 4; ++j) {
    std::vector<float> alone(y[j].size());
    kernels::linear_forward(pool, jobs[j].x, jobs[j].tokens, jobs[j].w, alone.data());
    EXPECT_EQ(y[j], alone) << j;
  }
}

}  // namespace
}  // namespace fathom
