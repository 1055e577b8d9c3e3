#include "infer/prefix_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Tokens = std::vector<std::int32_t>;

/// Two tokens a page.
class PrefixTreeTest : public testing::Test {
 protected:
  PrefixTree tree_{2};
  static constexpr auto kAnyPage = [](PageId) { return true; };
};

TEST_F(PrefixTreeTest, FindsWholePagesAndTheBeginningOfOneMore) {
  EXPECT_THAT(tree_.insert(Tokens{1, 2, 3, 4, 5, 6}, std::vector<PageId>{10, 11, 12}),
              ElementsAre(10, 11, 12));
  const PrefixMatch all = tree_.find(Tokens{1, 2, 3, 4, 5, 6, 7});
  EXPECT_THAT(all.pages, ElementsAre(10, 11, 12));
  EXPECT_EQ(all.partial, -1);
  const PrefixMatch some = tree_.find(Tokens{1, 2, 3, 9});
  EXPECT_THAT(some.pages, ElementsAre(10));
  EXPECT_EQ(some.partial, 11);
  EXPECT_EQ(some.partial_tokens, 1);
  EXPECT_EQ(tree_.matched(Tokens{1, 2, 3, 9}), 3);
  EXPECT_THAT(tree_.find(Tokens{2, 1}).pages, IsEmpty());
  EXPECT_EQ(tree_.matched({}), 0);
}

TEST_F(PrefixTreeTest, APageThatIsNotFullIsNotTaken) {
  EXPECT_THAT(tree_.insert(Tokens{1, 2, 3}, std::vector<PageId>{10, 11}), ElementsAre(10));
  EXPECT_EQ(tree_.size(), 1);
}

TEST_F(PrefixTreeTest, TextsShareWhatTheyBeginWith) {
  tree_.insert(Tokens{1, 2, 3, 4}, std::vector<PageId>{10, 11});
  EXPECT_THAT(tree_.insert(Tokens{1, 2, 5, 6}, std::vector<PageId>{20, 21}), ElementsAre(21))
      << "the first page is there already";
  EXPECT_THAT(tree_.find(Tokens{1, 2, 5, 6}).pages, ElementsAre(10, 21));
  // Of several that go on with some of the tokens, the one with most of them.
  tree_.insert(Tokens{1, 2, 5, 1}, std::vector<PageId>{10, 22});
  EXPECT_EQ(tree_.find(Tokens{1, 2, 3, 9}).partial, 11);
}

TEST_F(PrefixTreeTest, LeavesGoInTheOrderOfTheirLastUse) {
  tree_.insert(Tokens{1, 2, 3, 4}, std::vector<PageId>{10, 11});
  tree_.insert(Tokens{7, 8}, std::vector<PageId>{30});
  tree_.insert(Tokens{1, 2, 5, 6}, std::vector<PageId>{10, 21});
  tree_.find(Tokens{1, 2, 3, 4});
  const auto first = tree_.remove_oldest(kAnyPage);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->page, 30);
  EXPECT_THAT(first->tokens, ElementsAre(7, 8));
  const auto second = tree_.remove_oldest(kAnyPage);
  EXPECT_EQ(second->page, 21);
  EXPECT_THAT(second->tokens, ElementsAre(1, 2, 5, 6));
  EXPECT_EQ(tree_.remove_oldest([](PageId page) { return page == 10; }), std::nullopt)
      << "somebody's beginning stays";
  EXPECT_EQ(tree_.remove_oldest(kAnyPage)->page, 11);
  EXPECT_EQ(tree_.remove_oldest(kAnyPage)->page, 10);
  EXPECT_EQ(tree_.remove_oldest(kAnyPage), std::nullopt);
  EXPECT_EQ(tree_.size(), 0);
}

TEST_F(PrefixTreeTest, MayEndWhereSomebodyElsesPageIs) {
  tree_.insert(Tokens{1, 2}, std::vector<PageId>{10});
  EXPECT_THAT(tree_.insert(Tokens{1, 2, 3, 4}, std::vector<PageId>{20, 21}, false), IsEmpty());
  EXPECT_THAT(tree_.insert(Tokens{1, 2, 3, 4}, std::vector<PageId>{10, 21}, false), ElementsAre(21));
}

TEST_F(PrefixTreeTest, AVeryLongTextIsNoTrouble) {
  Tokens tokens(200'000);
  std::iota(tokens.begin(), tokens.end(), 0);
  std::vector<PageId> pages(100'000);
  std::iota(pages.begin(), pages.end(), 0);
  tree_.insert(tokens, pages);
  EXPECT_EQ(tree_.matched(tokens), 200'000);
}

}  // namespace
}  // namespace fathom
