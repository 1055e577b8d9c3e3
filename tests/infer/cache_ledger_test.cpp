#include "infer/cache_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <optional>
#include <span>
#include <vector>

namespace fathom {
namespace {

std::vector<std::int32_t> text_of(std::size_t count, std::int32_t from = 0) {
  std::vector<std::int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

/// Ten pages of ten positions on each of three ranks.
class CacheLedgerTest : public testing::Test {
 protected:
  CacheLedger ledger_{3, {.positions = 100, .page_positions = 10}};
  const std::vector<RankRange> both_ = {{0, 1}, {1, 3}};

  std::vector<int> ranks_of(std::optional<std::vector<CacheSeat>> seats) {
    std::vector<int> ranks;
    if (!seats) return ranks;
    for (const CacheSeat& seat : *seats) ranks.push_back(seat.rank);
    return ranks;
  }
};

TEST_F(CacheLedgerTest, SeatsAreGivenWhereLeastIsInUseAndOnAllOrNone) {
  EXPECT_THAT(ranks_of(ledger_.admit(both_, text_of(40, 0))), testing::ElementsAre(0, 1));
  std::vector<CacheSeat> second = *ledger_.admit(both_, text_of(40, 100));
  EXPECT_EQ(second[1].rank, 2);
  EXPECT_FALSE(ledger_.admit(both_, text_of(40, 200))) << "rank 0 has two pages left";
  EXPECT_FALSE(ledger_.admit(both_, text_of(20, 200))) << "and a page more must be free";
  ledger_.release(second[0]);
  EXPECT_EQ(second[0].rank, -1);
  EXPECT_THAT(ranks_of(ledger_.admit(both_, text_of(50, 200))), testing::ElementsAre(0, 1))
      << "nothing was taken in vain";
}

TEST_F(CacheLedgerTest, PagesThatWereLentAreThereAgain) {
  CacheSeat seat = ledger_.admit(both_, text_of(40))->front();
  while (const std::optional<PageId> page = ledger_.grow(0)) seat.pages.push_back(*page);
  EXPECT_EQ(seat.pages.size(), 10U);
  EXPECT_FALSE(ledger_.admit(both_, text_of(20, 200)));
  ledger_.give_back(0, std::span(seat.pages).subspan(4));
  EXPECT_TRUE(ledger_.admit(both_, text_of(20, 200)));
}

TEST_F(CacheLedgerTest, ASequenceGoesWhereItsBeginningIs) {
  const std::vector<RankRange> all = {{0, 3}};
  CacheSeat first = ledger_.admit(all, text_of(40))->front();
  ledger_.remember(first, text_of(40));
  EXPECT_EQ(ledger_.admit(all, text_of(10, 500))->front().rank, 1);
  const CacheSeat same = ledger_.admit(all, text_of(41))->front();
  EXPECT_EQ(same.rank, 0) << "one page more, instead of five elsewhere";
  EXPECT_EQ(same.held, 40);
  EXPECT_EQ(ledger_.hits().prompt_tokens, 91);
  EXPECT_EQ(ledger_.hits().cached_tokens, 40);
}

TEST_F(CacheLedgerTest, NobodyComesToARankWhereSomebodyIsPaused) {
  const std::vector<RankRange> one = {{1, 2}};
  CacheSeat seat = ledger_.admit(one, text_of(95))->front();
  EXPECT_FALSE(ledger_.grow(1).has_value());
  ledger_.pause(seat, {});
  EXPECT_EQ(seat.rank, 1);
  EXPECT_FALSE(ledger_.admit(one, text_of(5, 900)));
  EXPECT_TRUE(ledger_.resume(1, text_of(96)).has_value());
  EXPECT_FALSE(ledger_.resume(1, text_of(5, 900))) << "full";
}

}  // namespace
}  // namespace fathom
