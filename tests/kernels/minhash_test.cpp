#include "kernels/minhash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "support/error_text.h"

namespace fathom::kernels {
namespace {

using MinHashSignature = std::array<std::uint32_t, kMinHashes>;

MinHashSignature min_hashes_of(std::span<const std::uint32_t> values) {
  MinHashSignature least;
  least.fill(UINT32_MAX);
  min_hashes(values, least);
  return least;
}

std::vector<std::uint32_t> random_values(std::size_t count, std::uint64_t stream) {
  Rng random(3, stream);
  std::vector<std::uint32_t> values(count);
  for (std::uint32_t& value : values) value = random.next_u32();
  return values;
}

TEST(MinHashTest, IsTheLeastOfTheImagesOfSingleValues) {
  const std::vector<std::uint32_t> values = random_values(77, 0);
  MinHashSignature expected;
  expected.fill(UINT32_MAX);
  for (const std::uint32_t value : values) {
    const MinHashSignature image = min_hashes_of(std::array{value});
    for (std::size_t i = 0; i < kMinHashes; ++i) expected[i] = std::min(expected[i], image[i]);
  }
  EXPECT_EQ(min_hashes_of(values), expected);
}

TEST(MinHashTest, GoesOnFromWhatWasThere) {
  const std::vector<std::uint32_t> values = random_values(50, 1);
  MinHashSignature least = min_hashes_of(std::span(values).first(20));
  min_hashes(std::span(values).subspan(20), least);
  EXPECT_EQ(least, min_hashes_of(values));
  min_hashes({}, least);
  EXPECT_EQ(least, min_hashes_of(values));
}

TEST(MinHashTest, EachFunctionKeepsValuesApart) {
  // 0 and values that differ from it in one bit: a permutation gives 33 images.
  std::vector<MinHashSignature> images = {min_hashes_of(std::array{0U})};
  for (unsigned bit = 0; bit < 32; ++bit) images.push_back(min_hashes_of(std::array{1U << bit}));
  for (std::size_t i = 0; i < kMinHashes; ++i) {
    std::vector<std::uint32_t> of_one;
    for (const MinHashSignature& image : images) of_one.push_back(image[i]);
    std::sort(of_one.begin(), of_one.end());
    EXPECT_EQ(std::adjacent_find(of_one.begin(), of_one.end()), of_one.end()) << i;
  }
}

TEST(MinHashTest, AgreesAsOftenAsSetsDo) {
  // Over 40 pairs of sets the mean estimate lies within five standard deviations of the similarity, and the
  // estimates scatter as 128 independent ones would, to within a factor of 1.5.
  for (const double jaccard : {0.2, 0.5, 0.8}) {
    constexpr int kPairs = 40;
    double sum = 0;
    double squares = 0;
    for (int pair = 0; pair < kPairs; ++pair) {
      const auto shared = static_cast<std::size_t>(std::lround(600 * jaccard));
      const std::size_t own = (600 - shared) / 2;
      const std::vector<std::uint32_t> all =
          random_values(shared + 2 * own,
                        static_cast<std::uint64_t>(1000 * jaccard) + 10000U * static_cast<unsigned>(pair));
      std::vector<std::uint32_t> b(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(shared));
      b.insert(b.end(), all.begin() + static_cast<std::ptrdiff_t>(shared + own), all.end());
      const MinHashSignature first = min_hashes_of(std::span(all).first(shared + own));
      const MinHashSignature second = min_hashes_of(b);
      int equal = 0;
      for (std::size_t i = 0; i < kMinHashes; ++i) equal += first[i] == second[i] ? 1 : 0;
      const double error = equal / static_cast<double>(kMinHashes) - jaccard;
      sum += error;
      squares += error * error;
    }
    const double deviation = std::sqrt(jaccard * (1 - jaccard) / static_cast<double>(kMinHashes));
    EXPECT_LT(std::abs(sum / kPairs), 5 * deviation / std::sqrt(kPairs)) << jaccard;
    EXPECT_LT(std::sqrt(squares / kPairs), 1.5 * deviation) << jaccard;
    EXPECT_GT(std::sqrt(squares / kPairs), deviation / 1.5) << jaccard;
  }
}

TEST(MinHashTest, AnotherLengthIsRefused) {
  std::vector<std::uint32_t> least(kMinHashes - 1);
  EXPECT_THAT(test::error_of([&] { min_hashes({}, least); }), testing::HasSubstr("127"));
}

}  // namespace
}  // namespace fathom::kernels
