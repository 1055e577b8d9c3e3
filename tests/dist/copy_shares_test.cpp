#include "dist/copy_shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "base/rng.h"

namespace fathom {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

/// Sums of a few dozen terms in f64.
constexpr double kExact = 1e-12;

TEST(CopySharesTest, TokensStayWhereACopyIs) {
  const std::vector<std::int32_t> nodes = {0, 0, 0, 0};
  const std::vector<std::int32_t> copies = {0, 2};
  EXPECT_THAT(copy_shares(0, {}, nodes, copies), ElementsAre(1.0, 0.0));
  EXPECT_THAT(copy_shares(2, {}, nodes, copies), ElementsAre(0.0, 1.0));
  EXPECT_THAT(copy_shares(1, {}, nodes, copies), ElementsAre(0.5, 0.5));
}

TEST(CopySharesTest, AndElseOnTheirNode) {
  const std::vector<std::int32_t> nodes = {0, 0, 1, 1};
  const std::vector<std::int32_t> copies = {0, 2};
  EXPECT_THAT(copy_shares(1, {}, nodes, copies), ElementsAre(1.0, 0.0));
  EXPECT_THAT(copy_shares(3, {}, nodes, copies), ElementsAre(0.0, 1.0));
}

TEST(CopySharesTest, ARankWithMoreTokensThanItsPartSendsTheRestAway) {
  const std::vector<std::int32_t> nodes = {0, 0};
  const std::vector<std::int32_t> copies = {0, 1};
  const std::vector<std::int64_t> tokens = {90, 10};
  EXPECT_THAT(copy_shares(0, tokens, nodes, copies),
              ElementsAre(DoubleNear(5.0 / 9.0, kExact), DoubleNear(4.0 / 9.0, kExact)));
  EXPECT_THAT(copy_shares(1, tokens, nodes, copies),
              ElementsAre(DoubleNear(0, kExact), DoubleNear(1, kExact)));
}

TEST(CopySharesTest, AllCopiesGetAsManyWhateverTheTokensOfRanks) {
  Rng random(3);
  for (int i = 0; i < 300; ++i) {
    const std::size_t on_node = 1 + random.below(4);
    const std::size_t ranks = on_node * (1 + random.below(4));
    std::vector<std::int32_t> nodes;
    std::vector<std::int64_t> tokens;
    for (std::size_t r = 0; r < ranks; ++r) {
      nodes.push_back(static_cast<std::int32_t>(r / on_node));
      tokens.push_back(static_cast<std::int64_t>(random.below(3) == 0 ? 0 : random.below(600)));
    }
    std::vector<std::int32_t> copies(1 + random.below(6));
    for (std::int32_t& rank : copies) rank = static_cast<std::int32_t>(random.below(ranks));
    const auto total = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0}));
    std::vector<double> received(copies.size());
    for (std::size_t r = 0; r < ranks; ++r) {
      const std::vector<double> shares = copy_shares(static_cast<int>(r), tokens, nodes, copies);
      EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1.0, kExact);
      for (std::size_t j = 0; j < copies.size(); ++j) {
        EXPECT_GE(shares[j], 0.0);
        received[j] += total > 0 ? static_cast<double>(tokens[r]) / total * shares[j]
                                 : shares[j] / static_cast<double>(ranks);
      }
    }
    for (const double part : received) EXPECT_NEAR(part, 1.0 / static_cast<double>(copies.size()), kExact);
  }
}

TEST(CopyTurnsTest, EachCopyHasItsShareAtAnyTime) {
  const std::vector<double> shares = {0.5, 0.2, 0.3};
  CopyTurns turns(3, 1);
  std::vector<double> got(3);
  for (int n = 1; n <= 200; ++n) {
    got[turns.next(shares)] += 1;
    for (std::size_t j = 0; j < 3; ++j) EXPECT_LT(std::abs(got[j] - n * shares[j]), 1.0);
  }
}

TEST(CopyTurnsTest, RanksWithOneTokenEachBeginWithDifferentCopies) {
  const std::vector<double> even = {0.5, 0.5};
  EXPECT_EQ(CopyTurns(2, 0).next(even), 0U);
  EXPECT_EQ(CopyTurns(2, 1).next(even), 1U);
}

}  // namespace
}  // namespace fathom
