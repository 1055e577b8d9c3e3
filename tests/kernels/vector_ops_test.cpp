#include "kernels/vector_ops.h"

#include <gtest/gtest.h>

#include <vector>

namespace fathom::kernels {
namespace {

// Longer than one item, and no multiple of a vector.
constexpr std::int64_t kCount = 70001;

std::vector<float> ramp(float start, float step) {
  std::vector<float> values(kCount);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = start + step * static_cast<float>(i);
  return values;
}

TEST(VectorOpsTest, AddIsExactAndMayOverwriteAnOperand) {
  ThreadPool pool(2);
  std::vector<float> a = ramp(1.0F, 0.25F);
  const std::vector<float> b = ramp(-3.0F, 0.5F);
  std::vector<float> expected(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) expected[i] = a[i] + b[i];
  add(pool, a.data(), b.data(), kCount, a.data());
  EXPECT_EQ(a, expected);
}

TEST(VectorOpsTest, AxpyRoundsProductAndSumOnEveryInstructionSet) {
  ThreadPool pool(2);
  const std::vector<float> x = ramp(0.1F, 0.3F);
  std::vector<float> y = ramp(7.0F, -0.7F);
  std::vector<float> expected = y;
  for (std::size_t i = 0; i < x.size(); ++i) expected[i] += 0.3F * x[i];
  axpy(pool, 0.3F, x.data(), kCount, y.data());
  EXPECT_EQ(y, expected);
}

TEST(VectorOpsTest, NothingHappensForNoValues) {
  ThreadPool pool(2);
  float untouched = 4.0F;
  add(pool, &untouched, &untouched, 0, &untouched);
  axpy(pool, 1.0F, &untouched, 0, &untouched);
  EXPECT_EQ(untouched, 4.0F);
}

}  // namespace
}  // namespace fathom::kernels
