#include "infer/cache_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <numeric>
#include <vector>

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using BookTokens = std::vector<std::int32_t>;

BookTokens counting(std::int32_t from, std::size_t count) {
  BookTokens tokens(count);
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

/// Six pages of four positions.
class CacheBookTest : public testing::Test {
 protected:
  static CacheOptions options(bool shares = true) {
    return {.positions = 27, .page_positions = 4, .shares_prefixes = shares};
  }
  CacheBook book_{options()};

  /// A sequence that comes, is computed, and goes.
  void pass(const BookTokens& tokens) {
    const PageGrant grant = *book_.admit(tokens, true);
    book_.remember(tokens, grant.pages);
    book_.release(grant.pages);
  }
};

TEST_F(CacheBookTest, PagesAreGivenOutUntilThereAreNone) {
  EXPECT_EQ(book_.available(), 6);
  const auto first = book_.admit(counting(0, 9), true);
  ASSERT_TRUE(first.has_value());
  EXPECT_THAT(first->pages, SizeIs(3));
  EXPECT_EQ(first->held, 0);
  EXPECT_EQ(book_.admit(counting(50, 13), true), std::nullopt);
  EXPECT_EQ(book_.available(), 3) << "a request that is refused takes nothing";
  EXPECT_TRUE(book_.admit(counting(50, 12), true).has_value());
  EXPECT_EQ(book_.grow(), std::nullopt);
  book_.release(first->pages);
  EXPECT_EQ(book_.available(), 3);
  EXPECT_TRUE(book_.grow().has_value());
}

TEST_F(CacheBookTest, ABeginningIsSharedAndTheLastTokenIsAlwaysRead) {
  const BookTokens tokens = counting(0, 8);
  const PageGrant first = *book_.admit(tokens, true);
  book_.remember(tokens, first.pages);
  const PageGrant same = *book_.admit(tokens, true);
  EXPECT_EQ(same.held, 7) << "the last page is copied but for its last token";
  EXPECT_EQ(same.pages.front(), first.pages.front());
  EXPECT_NE(same.pages.back(), first.pages.back());
  const std::vector<PageOrder> orders = book_.take_orders();
  ASSERT_THAT(orders, SizeIs(1));
  EXPECT_EQ(orders[0].kind, PageOrder::Kind::copy);
  EXPECT_EQ(orders[0].page, same.pages.back());
  EXPECT_EQ(orders[0].source, first.pages.back());
  EXPECT_EQ(book_.in_use(), 3);
  book_.release(first.pages);
  EXPECT_EQ(book_.in_use(), 2) << "the first page has another user";
  book_.release(same.pages);
  EXPECT_EQ(book_.in_use(), 0);
}

TEST_F(CacheBookTest, WhereLatentsComeFromElsewhereNothingIsShared) {
  pass(counting(0, 8));
  const PageGrant grant = *book_.admit(counting(0, 8), false);
  EXPECT_EQ(grant.held, 0);
  EXPECT_THAT(book_.take_orders(), IsEmpty());
}

TEST_F(CacheBookTest, PrefixesGoWhenPagesAreNeededTheOldestFirst) {
  pass(counting(0, 8));
  pass(counting(100, 8));
  EXPECT_EQ(book_.available(), 6);
  const PageGrant third = *book_.admit(counting(200, 12), true);
  book_.release(third.pages);
  EXPECT_EQ(book_.admit(counting(0, 8), true)->held, 4) << "its last page has gone";
  EXPECT_EQ(book_.admit(counting(100, 8), true)->held, 7);
}

TEST_F(CacheBookTest, ASharedBeginningIsNotGivenUpWhileItIsUsed) {
  pass(counting(0, 8));
  BookTokens longer = counting(0, 9);
  const PageGrant user = *book_.admit(longer, true);
  EXPECT_EQ(user.held, 8);
  while (book_.grow()) {
  }
  EXPECT_EQ(book_.available(), 0);
  EXPECT_EQ(book_.admit(longer, true), std::nullopt);
  EXPECT_THAT(user.pages, SizeIs(3));
}

TEST_F(CacheBookTest, WhatIsAvailableCanBeHadAlsoWhereTwoHaveComputedTheSame) {
  const BookTokens tokens = counting(0, 8);
  const PageGrant first = *book_.admit(tokens, true);
  const PageGrant second = *book_.admit(tokens, true);
  book_.remember(BookTokens(tokens.begin(), tokens.begin() + 4), {first.pages.data(), 1});
  book_.remember(tokens, second.pages);
  book_.release(first.pages);
  while (book_.available() > 0) EXPECT_TRUE(book_.grow().has_value());
  book_.release(second.pages, tokens);
  EXPECT_EQ(book_.available(), 2);
}

TEST_F(CacheBookTest, SharingCanBeTurnedOff) {
  CacheBook book(options(false));
  const BookTokens tokens = counting(0, 8);
  const PageGrant first = *book.admit(tokens, true);
  book.remember(tokens, first.pages);
  EXPECT_EQ(book.admit(tokens, true)->held, 0);
}

TEST_F(CacheBookTest, WhatIsGivenUpGoesToTheSecondTierOnceAndComesBack) {
  std::map<BookTokens, std::vector<std::byte>> tier;
  book_.set_second_tier({[&](std::span<const std::int32_t> tokens) -> std::optional<std::vector<std::byte>> {
                           const auto found = tier.find({tokens.begin(), tokens.end()});
                           if (found == tier.end()) return std::nullopt;
                           return found->second;
                         },
                         [&](std::span<const std::int32_t> tokens) {
                           return tier.contains({tokens.begin(), tokens.end()});
                         }});
  pass(counting(0, 8));
  book_.give_up_all();
  EXPECT_THAT(book_.take_orders(), SizeIs(2));
  for (BookTokens& tokens : book_.take_spilled()) {
    const auto mark = static_cast<std::byte>(tokens.size());
    tier[std::move(tokens)] = {mark};
  }
  EXPECT_THAT(tier, SizeIs(2));

  const PageGrant back = *book_.admit(counting(0, 9), true);
  EXPECT_EQ(back.held, 8);
  const std::vector<PageOrder> orders = book_.take_orders();
  ASSERT_THAT(orders, SizeIs(2));
  EXPECT_EQ(orders[0].kind, PageOrder::Kind::fill);
  EXPECT_EQ(orders[0].page, back.pages[0]);
  EXPECT_THAT(orders[1].bytes, ElementsAre(std::byte{8}));
  book_.release(back.pages);
  book_.give_up_all();
  EXPECT_THAT(book_.take_orders(), IsEmpty()) << "it is there already";
}

}  // namespace
}  // namespace fathom
