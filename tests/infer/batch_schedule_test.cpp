#include "infer/batch_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "infer/step_plan.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

MATCHER_P2(IsRun, id, prompt_tokens, "") {
  return arg.id == static_cast<SequenceId>(id) && arg.prompt_tokens == prompt_tokens;
}

TEST(BatchScheduleTest, SingleTokensComeFirstAndPromptsFillTheRest) {
  BatchSchedule schedule(1, 10);
  schedule.add(1, 0, 25);
  schedule.add(2, 0, 0);
  schedule.add(3, 0, 4);
  EXPECT_THAT(schedule.next(), ElementsAre(ElementsAre(IsRun(2, 0), IsRun(1, 9))));
  EXPECT_THAT(schedule.next(), ElementsAre(ElementsAre(IsRun(2, 0), IsRun(1, 9))));
  EXPECT_THAT(schedule.next(), ElementsAre(ElementsAre(IsRun(2, 0), IsRun(1, 7), IsRun(3, 2))));
  EXPECT_THAT(schedule.next(), ElementsAre(ElementsAre(IsRun(1, 0), IsRun(2, 0), IsRun(3, 2))));
  schedule.remove(1);
  EXPECT_THAT(schedule.next(), ElementsAre(ElementsAre(IsRun(2, 0), IsRun(3, 0))));
}

TEST(BatchScheduleTest, SingleTokensAreNeverLeftOut) {
  BatchSchedule schedule(1, 1);
  schedule.add(1, 0, 0);
  schedule.add(2, 0, 0);
  schedule.add(3, 0, 5);
  EXPECT_THAT(schedule.next(), ElementsAre(ElementsAre(IsRun(1, 0), IsRun(2, 0))));
}

TEST(BatchScheduleTest, EachRankHasABudgetOfItsOwn) {
  BatchSchedule schedule(3, 8);
  schedule.add(1, 0, 20);
  schedule.add(2, 2, 3);
  const std::vector<std::vector<StepPlan::Run>> runs = schedule.next();
  EXPECT_THAT(runs, ElementsAre(ElementsAre(IsRun(1, 8)), IsEmpty(), ElementsAre(IsRun(2, 3))));
  EXPECT_THAT(tokens_of_ranks(runs), ElementsAre(8, 0, 3));
}

TEST(BatchScheduleTest, WhoeverCameFirstGoesFirstAlsoAfterAPause) {
  BatchSchedule schedule(1, 10);
  schedule.add(1, 0, 6);
  schedule.add(2, 0, 20);
  schedule.remove(1);
  schedule.add(1, 0, 8);
  EXPECT_THAT(schedule.next(), ElementsAre(ElementsAre(IsRun(1, 8), IsRun(2, 2))));
}

TEST(StepPlanTest, WhatIsPackedIsUnpacked) {
  StepPlan plan;
  plan.waits_for_caches = true;
  plan.tokens_of_rank = {3, 0};
  plan.drop = {7, 8};
  plan.begin = {{.id = 9,
                 .sampling = {.temperature = 0.5, .seed = 11},
                 .grammar = {},
                 .send_to = 2,
                 .receive_from = -1,
                 .prompt = {5, 6, 7}}};
  plan.orders = {{PageOrder::Kind::copy, 3, 1, {}},
                 {PageOrder::Kind::fill, 4, -1, {std::byte{1}, std::byte{2}}}};
  plan.seat = {{9, {3, 4}, 5}};
  plan.pause = {2};
  plan.run = {{9, 3}, {4, 0, 2}};
  plan.trim = {{4, 6}};
  const StepPlan got = unpack_plan(pack(plan));
  EXPECT_FALSE(got.is_end);
  EXPECT_TRUE(got.waits_for_caches);
  EXPECT_EQ(got.tokens_of_rank, plan.tokens_of_rank);
  EXPECT_EQ(got.drop, plan.drop);
  ASSERT_EQ(got.begin.size(), 1U);
  EXPECT_EQ(got.begin[0].id, 9U);
  EXPECT_EQ(got.begin[0].sampling.temperature, 0.5);
  EXPECT_EQ(got.begin[0].sampling.seed, 11U);
  EXPECT_EQ(got.begin[0].send_to, 2);
  EXPECT_EQ(got.begin[0].receive_from, -1);
  EXPECT_THAT(got.begin[0].prompt, ElementsAre(5, 6, 7));
  EXPECT_THAT(got.run, ElementsAre(IsRun(9, 3), IsRun(4, 0)));
  ASSERT_EQ(got.orders.size(), 2U);
  EXPECT_EQ(got.orders[0].kind, PageOrder::Kind::copy);
  EXPECT_EQ(got.orders[0].source, 1);
  EXPECT_EQ(got.orders[1].page, 4);
  EXPECT_THAT(got.orders[1].bytes, ElementsAre(std::byte{1}, std::byte{2}));
  ASSERT_EQ(got.seat.size(), 1U);
  EXPECT_THAT(got.seat[0].pages, ElementsAre(3, 4));
  EXPECT_EQ(got.seat[0].held, 5);
  EXPECT_THAT(got.pause, ElementsAre(2U));
  EXPECT_EQ(got.run[1].most_drafts, 2);
  ASSERT_EQ(got.trim.size(), 1U);
  EXPECT_EQ(got.trim[0].id, 4U);
  EXPECT_EQ(got.trim[0].pages, 6);

  const StepResult result = unpack_result(
      pack(StepResult{{{3, 40}, {4, StepResult::kNotNumbers}}, {{3, 7, 5, 2}}, {5}, {{std::byte{7}}, {}}}));
  ASSERT_EQ(result.drafts.size(), 1U);
  EXPECT_EQ(result.drafts[0].drafted, 7);
  EXPECT_EQ(result.drafts[0].checked, 5);
  EXPECT_EQ(result.drafts[0].accepted, 2);
  ASSERT_EQ(result.tokens.size(), 2U);
  EXPECT_EQ(result.tokens[1].token, StepResult::kNotNumbers);
  EXPECT_THAT(result.sent, ElementsAre(5U));
  EXPECT_THAT(result.spilled, ElementsAre(ElementsAre(std::byte{7}), IsEmpty()));
}

TEST(StepPlanTest, AMessageThatEndsTooEarlyIsRefused) {
  StepPlan plan;
  plan.run = {{1, 3}, {2, 0}};
  const std::vector<std::byte> bytes = pack(plan);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW(unpack_plan(std::span(bytes).first(size)), Error) << size;
}

}  // namespace
}  // namespace fathom
