#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/gemm.h"

namespace fathom::kernels {
namespace {

// OpenBLAS's sequential build fails this: its threads share a work buffer now and then.
TEST(GemmThreadsTest, ThreadsSideBySideDoNotDisturbEachOther) {
  constexpr std::int64_t kM = 130;
  constexpr std::int64_t kN = 120;
  constexpr std::int64_t kK = 110;
  // Row i of A is all i, column j of B all j: exact in f32, and wrong if another product's panels are read.
  const auto product_is_right = [](float offset) {
    std::vector<float> a(kM * kK);
    std::vector<float> b(kK * kN);
    std::vector<float> c(kM * kN);
    const auto in_a = [&](std::size_t row) { return static_cast<float>(row) + offset; };
    const auto in_b = [&](std::size_t column) { return static_cast<float>(column) - offset; };
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = in_a(i / kK);
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = in_b(i % kN);
    gemm_serial(kM, kN, kK, 1.0F, {a.data(), kK}, {b.data(), kN}, 0.0F, c.data(), kN);
    for (std::size_t i = 0; i < c.size(); ++i)
      if (c[i] != kK * in_a(i / kN) * in_b(i % kN)) return false;
    return true;
  };
  ThreadPool pool(4);
  std::atomic<int> wrong{0};
  pool.parallel_for(400, [&](std::size_t item) {
    if (!product_is_right(static_cast<float>(item % 7))) ++wrong;
  });
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace fathom::kernels
