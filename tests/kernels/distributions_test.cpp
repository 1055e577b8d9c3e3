#include "kernels/distributions.h"

#include "kernels/kernel_test.h"

namespace fathom {
namespace {

using test::for_each_target;
using test::random_values;
using test::relative_error;

std::vector<double> softmax_of(const float* row, std::size_t vocab) {
  const double largest = *std::max_element(row, row + vocab);
  std::vector<double> out;
  double sum = 0.0;
  for (std::size_t i = 0; i < vocab; ++i) sum += out.emplace_back(std::exp(row[i] - largest));
  for (double& p : out) p /= sum;
  return out;
}

TEST(DistributionsTest, SoftmaxAndOverlapMatchTheFormula) {
  ThreadPool pool(2);
  for_each_target([&] {
    for (const std::size_t vocab : {1U, 2U, 7U, 33U, 1000U, 5001U}) {
      std::vector<float> p = random_values(3 * vocab, vocab, 3.0);
      std::vector<float> q = random_values(2 * vocab, vocab + 1, 3.0);
      const std::vector<std::int64_t> p_rows = {2, 0};
      std::vector<double> overlap;
      std::vector<double> expected_q;
      for (std::size_t t = 0; t < 2; ++t) {
        const auto left = softmax_of(p.data() + static_cast<std::size_t>(p_rows[t]) * vocab, vocab);
        const auto right = softmax_of(q.data() + t * vocab, vocab);
        double sum = 0.0;
        for (std::size_t i = 0; i < vocab; ++i) sum += std::min(left[i], right[i]);
        overlap.push_back(sum);
        expected_q.insert(expected_q.end(), right.begin(), right.end());
      }
      const auto width = static_cast<std::int64_t>(vocab);
      kernels::softmax_rows(pool, p.data(), 3, width);
      kernels::softmax_rows(pool, q.data(), 2, width);
      std::vector<float> got(2);
      kernels::overlap_rows(pool, p.data(), p_rows.data(), q.data(), 2, width, got.data());
      // Sums of up to 2,048 values in f32, on the baseline target in a single lane.
      EXPECT_LT(relative_error(q, expected_q), 4e-6) << vocab;
      EXPECT_LT(relative_error(got, overlap), 8e-6) << vocab;
    }
  });
}

TEST(DistributionsTest, FarApartLogitsGiveZerosAndOnes) {
  ThreadPool pool(1);
  std::vector<float> row = {-1e30F, 500.0F, 0.0F, -200.0F, 499.0F};
  kernels::softmax_rows(pool, row.data(), 1, 5);
  EXPECT_EQ(row[0], 0.0F);
  EXPECT_EQ(row[2], 0.0F);
  EXPECT_NEAR(row[1], 0.7310586F, 1e-6F);
  EXPECT_NEAR(row[4], 0.2689414F, 1e-6F);
}

TEST(DistributionsTest, ArgmaxIsTheFirstOfEquals) {
  ThreadPool pool(2);
  const std::vector<float> rows = {1, 3, 3, 2, -5, -4, -6, -4};
  std::vector<std::int32_t> places(2);
  kernels::argmax_rows(pool, rows.data(), 2, 4, places.data());
  EXPECT_EQ(places, (std::vector<std::int32_t>{1, 1}));
}

}  // namespace
}  // namespace fathom
