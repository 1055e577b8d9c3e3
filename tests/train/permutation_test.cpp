#include "train/permutation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fathom {
namespace {

std::vector<std::uint64_t> image(std::uint64_t size, std::uint64_t seed, std::uint64_t stream) {
  const Permutation permutation(size, seed, stream);
  std::vector<std::uint64_t> values;
  for (std::uint64_t i = 0; i < size; ++i) values.push_back(permutation(i));
  return values;
}

TEST(PermutationTest, IsABijectionForEverySmallSize) {
  for (std::uint64_t size = 1; size <= 70; ++size) {
    std::vector<std::uint64_t> values = image(size, 3, 0);
    std::sort(values.begin(), values.end());
    for (std::uint64_t i = 0; i < size; ++i) ASSERT_EQ(values[i], i) << "size " << size;
  }
}

TEST(PermutationTest, SeedAndStreamChangeTheOrder) {
  EXPECT_EQ(image(1000, 1, 0), image(1000, 1, 0));
  EXPECT_NE(image(1000, 1, 0), image(1000, 2, 0));
  EXPECT_NE(image(1000, 1, 0), image(1000, 1, 2));
}

/// Of a random permutation of n, the mean of |p(i) - i| is (n² - 1) / 3n, here 333.3 with a standard
/// deviation of 6.7; the bound is five of them.
TEST(PermutationTest, MovesItemsAsFarAsAtRandom) {
  const std::vector<std::uint64_t> values = image(1000, 7, 0);
  double distance = 0;
  for (std::uint64_t i = 0; i < values.size(); ++i)
    distance += std::abs(static_cast<double>(values[i]) - static_cast<double>(i));
  EXPECT_NEAR(distance / 1000, 333.3, 34);
}

TEST(PermutationTest, HugeSizesStayInRange) {
  const std::uint64_t size = (std::uint64_t{1} << 40U) + 12'345;
  const Permutation permutation(size, 1, 0);
  for (const std::uint64_t index : {std::uint64_t{0}, std::uint64_t{1}, size / 2, size - 1})
    EXPECT_LT(permutation(index), size);
}

}  // namespace
}  // namespace fathom
