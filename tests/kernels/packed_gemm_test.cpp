#include "kernels/packed_gemm.h"

#include <bit>
#include <numeric>

#include "base/error.h"
#include "kernels/kernel_test.h"
#include "kernels/weights.h"
#include "numerics/small_float.h"

namespace fathom {
namespace {

using kernels::GemmInput;
using kernels::GemmOperand;

/// How the factors of an operand lie.
enum class Scales { none, along_k, blocks };

struct OperandKind {
  DType dtype = DType::f32;
  Scales scales = Scales::none;
  bool transposed = false;
  bool gathered = false;
};

/// A random operand of some kind at an odd address, rows a few elements longer than they need be, and its
/// values in double: rounded as `input` says, factors apart.
struct StoredOperand {
  StoredOperand(const OperandKind& kind, GemmInput input, std::int64_t rows, std::int64_t k,
                std::uint64_t seed) {
    const std::int64_t outer = kind.transposed ? k : rows;
    const std::int64_t inner = kind.transposed ? rows : k;
    const std::int64_t stored_rows = kind.gathered ? 2 * outer + 1 : outer;
    const std::int64_t stride = inner + 3;
    const std::vector<float> source =
        test::random_values(static_cast<std::size_t>(stored_rows * stride), seed);
    const std::size_t size = dtype_size(kind.dtype);
    bytes.resize(source.size() * size + 1);
    std::vector<float> stored(source.size());
    for (std::size_t i = 0; i < source.size(); ++i)
      stored[i] = store(kind.dtype, source[i], bytes.data() + 1 + i * size);
    Rng random(seed + 1);
    for (std::int64_t i = 0; kind.gathered && i < outer; ++i)
      index.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(stored_rows))));

    operand.data = bytes.data() + 1;
    operand.dtype = kind.dtype;
    operand.rows = rows;
    operand.k = k;
    operand.stride = stride;
    operand.transposed = kind.transposed;
    operand.gather = kind.gathered ? index.data() : nullptr;
    const std::int64_t scaled_rows = kind.gathered && !kind.transposed ? stored_rows : rows;
    if (kind.scales != Scales::none) {
      operand.scale_rows = kind.scales == Scales::blocks ? 128 : 1;
      const std::int64_t down = (scaled_rows + operand.scale_rows - 1) / operand.scale_rows;
      const std::int64_t across = (k + 127) / 128;
      operand.scale_row_stride = kind.transposed ? 1 : across;  // factors lie as the elements do
      operand.scale_k_stride = kind.transposed ? down : 1;
      scales = test::random_values(static_cast<std::size_t>(down * across), seed + 2, 0.1);
      operand.scale = scales.data();
    }
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t i = 0; i < k; ++i) {
        const std::int64_t outer_index = kind.transposed ? i : row;
        const std::int64_t stored_row =
            kind.gathered ? index[static_cast<std::size_t>(outer_index)] : outer_index;
        const float value =
            stored[static_cast<std::size_t>(stored_row * stride + (kind.transposed ? row : i))];
        double factor = 1.0;
        if (operand.scale != nullptr)
          factor = operand.scale[(kind.transposed ? row : stored_row) / operand.scale_rows *
                                     operand.scale_row_stride +
                                 i / 128 * operand.scale_k_stride];
        values.push_back(factor * (input == GemmInput::bf16 ? Bf16::from_float(value).to_float() : value));
      }
  }
  StoredOperand(const StoredOperand&) = delete;
  StoredOperand& operator=(const StoredOperand&) = delete;

  std::vector<std::byte> bytes;
  std::vector<std::int32_t> index;
  std::vector<float> scales;
  std::vector<double> values;  // [rows, k]
  GemmOperand operand;

 private:
  template <typename Small>
  static float store_as(float value, std::byte* to) {
    const Small small = Small::from_float(value);
    std::memcpy(to, &small.bits, sizeof(small.bits));
    return small.to_float();
  }
  static float store(DType dtype, float value, std::byte* to) {
    if (dtype == DType::bf16) return store_as<Bf16>(value, to);
    if (dtype == DType::f16) return store_as<F16>(value, to);
    if (dtype == DType::f8_e4m3) return store_as<F8E4M3>(value, to);
    std::memcpy(to, &value, sizeof(value));
    return value;
  }
};

struct GemmSize {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};

/// Expects every value of C within 1e-6 of the sum of its |a·b|: f32 sums of up to 256 products at a time
/// lose 6e-8 of it at every addition at worst, some 1e-7 to 3e-7 in practice. What lies around C is left
/// alone.
void expect_product_of(const OperandKind& a_kind, const OperandKind& b_kind, GemmInput input,
                       const GemmSize& size, bool accumulate) {
  ThreadPool pool(2);
  const StoredOperand a(a_kind, input, size.m, size.k, 1);
  const StoredOperand b(b_kind, input, size.n, size.k, 11);
  const std::int64_t stride = size.n + 2;
  const std::vector<float> before = test::random_values(static_cast<std::size_t>(size.m * stride), 21);
  std::vector<float> c = before;
  kernels::packed_gemm(pool, input, a.operand, b.operand, c.data(), stride, accumulate);
  double worst = 0.0;
  for (std::int64_t i = 0; i < size.m; ++i)
    for (std::int64_t j = 0; j < stride; ++j) {
      const auto at = static_cast<std::size_t>(i * stride + j);
      if (j >= size.n) {
        EXPECT_EQ(c[at], before[at]) << "beyond the end of row " << i;
        continue;
      }
      double sum = accumulate ? before[at] : 0.0;
      double size_of_sum = std::abs(sum) + 1e-30;
      for (std::int64_t p = 0; p < size.k; ++p) {
        const double term = a.values[static_cast<std::size_t>(i * size.k + p)] *
                            b.values[static_cast<std::size_t>(j * size.k + p)];
        sum += term;
        size_of_sum += std::abs(term);
      }
      const double error = std::abs(double{c[at]} - sum) / size_of_sum;
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  EXPECT_LT(worst, 1e-6) << size.m << " x " << size.n << " x " << size.k << ", types "
                         << dtype_name(a_kind.dtype) << " and " << dtype_name(b_kind.dtype) << ", orders "
                         << a_kind.transposed << b_kind.transposed << ", gathered " << a_kind.gathered
                         << b_kind.gathered << ", input " << static_cast<int>(input);
}

TEST(PackedGemmTest, MatchesTheReferenceAtEverySize) {
  const std::vector<GemmSize> sizes = {{1, 1, 1},    {0, 5, 3},     {5, 0, 3},    {3, 5, 0},
                                       {2, 3, 2},    {7, 49, 31},   {13, 97, 67}, {97, 17, 127},
                                       {8, 48, 128}, {31, 50, 129}, {17, 5, 515}, {269, 7, 33}};
  test::for_each_target([&] {
    for (const GemmInput input : {GemmInput::f32, GemmInput::bf16})
      for (const GemmSize& size : sizes)
        for (const bool accumulate : {false, true}) expect_product_of({}, {}, input, size, accumulate);
  });
}

TEST(PackedGemmTest, MatchesTheReferenceInEveryOrderAndType) {
  test::for_each_target([&] {
    for (const GemmInput input : {GemmInput::f32, GemmInput::bf16})
      for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f8_e4m3})
        for (const int order : {0, 1, 2, 3})
          for (const bool gathered : {false, true})
            expect_product_of({dtype, Scales::none, (order & 1) != 0, gathered},
                              {dtype, Scales::none, (order & 2) != 0, gathered}, input, {21, 51, 75}, true);
  });
}

TEST(PackedGemmTest, TypesOfTheTwoSidesAreFree) {
  test::for_each_target([&] {
    expect_product_of({DType::f32}, {DType::f8_e4m3, Scales::blocks}, GemmInput::f32, {20, 140, 300}, false);
    expect_product_of({DType::bf16}, {DType::f32}, GemmInput::bf16, {20, 30, 300}, false);
  });
}

TEST(PackedGemmTest, FactorsApplyToRunsOf128) {
  test::for_each_target([&] {
    for (const GemmInput input : {GemmInput::f32, GemmInput::bf16})
      for (const std::int64_t k : {128, 129, 530})
        for (const int order : {0, 1, 2, 3}) {
          const bool a_flipped = (order & 1) != 0;
          const bool b_flipped = (order & 2) != 0;
          // Fprop and Dgrad: 1 x 128 tiles against 128 x 128 blocks; Wgrad: tiles on both sides.
          expect_product_of({DType::f8_e4m3, Scales::along_k, a_flipped, k % 2 == 0},
                            {DType::f8_e4m3, Scales::blocks, b_flipped, false}, input, {5, 133, k}, true);
          expect_product_of({DType::f8_e4m3, Scales::along_k, a_flipped, false},
                            {DType::bf16, Scales::along_k, b_flipped, k % 2 == 1}, input, {9, 50, k}, false);
        }
  });
}

TEST(PackedGemmTest, RoundsToBf16AsTheFormatDefines) {
  // Ties of both kinds, what rounds up to infinity, and NaN; multiplied by 1 they come back as rounded.
  std::vector<float> values = {1.0F,
                               std::bit_cast<float>(0x3F808000U),
                               std::bit_cast<float>(0x3F818000U),
                               std::bit_cast<float>(0x3F808001U),
                               std::bit_cast<float>(0xC0FFFFFFU),
                               std::bit_cast<float>(0x7F7FFFFFU),
                               std::bit_cast<float>(0x7F800001U),
                               -0.0F};
  for (const float value : test::random_values(200, 5)) values.push_back(value);
  const auto count = static_cast<std::int64_t>(values.size());
  const float one = 1.0F;
  test::for_each_target([&] {
    ThreadPool pool(1);
    for (const bool transposed : {false, true}) {
      GemmOperand rows = kernels::gemm_rows(values.data(), count, 1);
      if (transposed) rows = kernels::gemm_rows(values.data(), 1, count).flipped();
      std::vector<float> rounded(values.size());
      kernels::packed_gemm(pool, GemmInput::bf16, rows, kernels::gemm_rows(&one, 1, 1), rounded.data(), 1,
                           false);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float expected = Bf16::from_float(values[i]).to_float();
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(rounded[i]));
        } else {
          EXPECT_EQ(rounded[i], expected) << values[i];
        }
      }
    }
  });
}

TEST(PackedGemmTest, WeightsAreReadWithTheirBlockScalesBothWaysRound) {
  ThreadPool pool(2);
  const test::StoredWeights w(DType::f8_e4m3, 150, 270, 1);
  const std::vector<float> x = test::random_values(9 * 270, 2);
  const std::vector<float> dy = test::random_values(9 * 150, 3);
  std::vector<float> y(9 * 150);
  const GemmOperand weights = kernels::gemm_weights(w.matrix);
  kernels::packed_gemm(pool, GemmInput::f32, kernels::gemm_rows(x.data(), 9, 270), weights, y.data(), 150,
                       false);
  EXPECT_LT(test::relative_error(y, test::reference_linear(x, 9, w)), 1e-6);

  std::vector<float> dx(9 * 270);
  kernels::packed_gemm(pool, GemmInput::f32, kernels::gemm_rows(dy.data(), 9, 150), weights.flipped(),
                       dx.data(), 270, false);
  std::vector<double> expected(dx.size(), 0.0);
  for (std::size_t t = 0; t < 9; ++t)
    for (std::size_t o = 0; o < 150; ++o)
      for (std::size_t i = 0; i < 270; ++i) expected[t * 270 + i] += dy[t * 150 + o] * w.values[o * 270 + i];
  EXPECT_LT(test::relative_error(dx, expected), 1e-6);
}

/// Several products that share operands, large enough for several items each.
std::vector<std::vector<float>> grouped(ThreadPool& pool, GemmInput input, std::size_t only = SIZE_MAX) {
  const StoredOperand x({}, input, 300, 200, 1);
  const StoredOperand other({DType::bf16, Scales::none, true, true}, input, 40, 200, 2);
  const StoredOperand gate({}, input, 350, 200, 3);
  const StoredOperand up({DType::f8_e4m3, Scales::blocks}, input, 150, 200, 4);
  const std::vector<GemmOperand> operands = {x.operand, other.operand, gate.operand, up.operand};
  const std::size_t sides[][2] = {{0, 2}, {1, 2}, {0, 3}, {1, 3}};
  std::vector<std::vector<float>> results;
  std::vector<kernels::GemmJob> jobs;
  for (const auto& [a, b] : sides) {
    results.emplace_back(static_cast<std::size_t>(operands[a].rows * operands[b].rows), 1.0F);
    if (only == SIZE_MAX || only == results.size() - 1)
      jobs.push_back({a, b, results.back().data(), operands[b].rows, true});
  }
  kernels::grouped_gemm(pool, input, operands, jobs);
  return results;
}

TEST(PackedGemmTest, AProductIsTheSameAloneAndInCompany) {
  ThreadPool pool(2);
  for (const GemmInput input : {GemmInput::f32, GemmInput::bf16}) {
    const auto together = grouped(pool, input);
    for (std::size_t i = 0; i < together.size(); ++i) EXPECT_EQ(grouped(pool, input, i)[i], together[i]);
  }
}

TEST(PackedGemmTest, ARowIsTheSameAloneAndInCompany) {
  ThreadPool pool(2);
  const std::vector<float> x = test::random_values(37 * 300, 1);
  const std::vector<float> w = test::random_values(60 * 300, 2);
  std::vector<float> all(37 * 60);
  const GemmOperand weights = kernels::gemm_rows(w.data(), 60, 300);
  kernels::packed_gemm(pool, GemmInput::f32, kernels::gemm_rows(x.data(), 37, 300), weights, all.data(), 60,
                       false);
  for (std::int64_t row = 0; row < 37; ++row) {
    std::vector<float> alone(60);
    kernels::packed_gemm(pool, GemmInput::f32, kernels::gemm_rows(x.data() + row * 300, 1, 300), weights,
                         alone.data(), 60, false);
    EXPECT_EQ(alone, std::vector<float>(all.begin() + row * 60, all.begin() + (row + 1) * 60));
  }
}

TEST(PackedGemmTest, DoesNotDependOnTheThreadCount) {
  for (const GemmInput input : {GemmInput::f32, GemmInput::bf16})
    test::expect_same_for_any_thread_count([&](ThreadPool& pool) { return grouped(pool, input); });
}

TEST(PackedGemmTest, NothingToMultiplyIsFine) {
  ThreadPool pool(2);
  kernels::grouped_gemm(pool, GemmInput::f32, {}, {});
}

TEST(PackedGemmTest, RefusesWhatDoesNotFit) {
  ThreadPool pool(1);
  const std::vector<float> values(12);
  std::vector<float> c(12);
  const GemmOperand a = kernels::gemm_rows(values.data(), 3, 4);
  GemmOperand other_k = kernels::gemm_rows(values.data(), 4, 3);
  EXPECT_THROW(kernels::packed_gemm(pool, GemmInput::f32, a, other_k, c.data(), 4, false), Error);
  GemmOperand other_type = a;
  other_type.dtype = DType::i32;
  EXPECT_THROW(kernels::packed_gemm(pool, GemmInput::f32, a, other_type, c.data(), 3, false), Error);
  const kernels::GemmJob missing{0, 1, c.data(), 3, false};
  EXPECT_THROW(kernels::grouped_gemm(pool, GemmInput::f32, {&a, 1}, {&missing, 1}), Error);
  GemmOperand tiles = a;
  tiles.scale = values.data();
  EXPECT_THROW((void)tiles.flipped(), Error);
}

}  // namespace
}  // namespace fathom
