#include "infer/lookup_drafter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class LookupDrafterTest : public testing::Test {
 protected:
  void read(const std::vector<std::int32_t>& tokens) { drafter_.read(*text_, tokens, {}); }
  Drafter::Job drafts(std::int32_t next, std::int64_t count = 3) {
    Drafter::Job job{*text_, next, count, sampler_};
    drafter_.draft(context_, {&job, 1});
    return job;
  }

  ThreadPool pool_{1};
  Context context_{pool_};
  Sampler sampler_{SamplingOptions{}};
  LookupDrafter drafter_;
  std::unique_ptr<Drafter::State> text_ = drafter_.begin(100);
};

TEST_F(LookupDrafterTest, WhatFollowedTheLongestSuffixIsDrafted) {
  read({9, 1, 2, 3, 40, 41, 42, 8, 2, 3, 50, 51, 52, 1, 2});
  EXPECT_THAT(drafts(3).drafts, ElementsAre(40, 41, 42));  // 1 2 3 occurred there, 2 3 alone nearer
}

TEST_F(LookupDrafterTest, OfEqualSuffixesTheNewestCounts) {
  read({1, 2, 30, 1, 2, 40, 1});
  EXPECT_THAT(drafts(2, 1).drafts, ElementsAre(40));
}

TEST_F(LookupDrafterTest, ASingleTokenThatOccurredIsNotEnough) {
  read({1, 2, 3, 4});
  EXPECT_THAT(drafts(2).drafts, IsEmpty());
}

TEST_F(LookupDrafterTest, ARepetitionGoesOnBeyondItsOwnEnd) {
  read({7, 8, 7, 8});
  EXPECT_THAT(drafts(7, 5).drafts, ElementsAre(8, 7, 8, 7, 8));
}

TEST_F(LookupDrafterTest, LongerSuffixesAreOfHigherGrade) {
  read({1, 2, 3, 4, 5, 6, 7, 8, 9, 1});
  EXPECT_EQ(drafts(2).grade, 0);
  read({2});
  EXPECT_EQ(drafts(3).grade, 1);
  read({3});
  EXPECT_EQ(drafts(4).grade, 2);
  read({4, 5, 6, 7});
  EXPECT_EQ(drafts(8).grade, 3);
}

TEST_F(LookupDrafterTest, DraftingLeavesTheTextAsItWas) {
  read({1, 2, 30, 5, 1});
  EXPECT_THAT(drafts(2, 1).drafts, ElementsAre(30));
  EXPECT_THAT(drafts(2, 1).drafts, ElementsAre(30));
  read({9, 2, 1});  // another token than was drafted from
  EXPECT_THAT(drafts(2, 1).drafts, ElementsAre(30));
}

TEST_F(LookupDrafterTest, EmptyAndShortTextsHaveNoDrafts) {
  EXPECT_THAT(drafts(1).drafts, IsEmpty());
  read({1});
  EXPECT_THAT(drafts(1).drafts, IsEmpty());
  read({1});
  EXPECT_THAT(drafts(1, 2).drafts, ElementsAre(1, 1));
}

}  // namespace
}  // namespace fathom
