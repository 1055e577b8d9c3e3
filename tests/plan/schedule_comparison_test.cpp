#include "plan/schedule_comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"

namespace fathom {
namespace {

using enum PipelineKind;

const SimulatedStep& step_of(const std::vector<ComparedSchedule>& all, PipelineKind kind) {
  return std::ranges::find(all, kind, &ComparedSchedule::kind)->step.value();
}

// DESIGN, section 5: DualPipeV's PP stages are on PP/2 devices.
TEST(ScheduleComparisonTest, StagesAreThoseOfThePublishedTables) {
  const auto all = compare_schedules({.parallelism = 8, .micro_batches = 20});
  ASSERT_EQ(all.size(), kPipelineKinds.size());
  for (const ComparedSchedule& one : all) EXPECT_EQ(one.step.value().shape.stages, 8) << one.refusal;
  EXPECT_EQ(step_of(all, one_f_one_b).shape.ranks(), 8);
  EXPECT_EQ(step_of(all, interleaved).shape.ranks(), 4);
  EXPECT_EQ(step_of(all, dualpipe).shape.ranks(), 8);
  EXPECT_EQ(step_of(all, dualpipe_v).shape.ranks(), 4);
  EXPECT_EQ(step_of(all, dualpipe).makespan, 66);
}

TEST(ScheduleComparisonTest, OnTheSameRanksAllDoTheSameWork) {
  const auto all = compare_schedules({.parallelism = 8, .micro_batches = 24, .chunks = 3, .on_ranks = true});
  EXPECT_EQ(step_of(all, interleaved).shape.stages, 24);
  EXPECT_EQ(step_of(all, dualpipe_v).shape.stages, 16);
  for (const ComparedSchedule& one : all) {
    const SimulatedStep& step = one.step.value();
    EXPECT_EQ(step.shape.ranks(), 8) << pipeline_kind_title(one.kind);
    // F + B of 24 micro-batches; F&B of the default times saves nothing.
    for (const double busy : step.busy) EXPECT_NEAR(busy, 24 * 3, 1e-9) << pipeline_kind_title(one.kind);
  }
}

TEST(ScheduleComparisonTest, AFinerCutDoesNotShortenMessages) {
  const PipelineSizes sizes = {
      .parallelism = 4, .micro_batches = 8, .chunks = 2, .on_ranks = true, .times = {.communication = 0.5}};
  EXPECT_EQ(pipeline_case(interleaved, sizes).times.forward, 0.5);
  EXPECT_EQ(pipeline_case(interleaved, sizes).times.communication, 0.5);
}

TEST(ScheduleComparisonTest, AKindThatRefusesTheSizesSaysWhyInItsPlace) {
  const auto all = compare_schedules({.parallelism = 8, .micro_batches = 10});
  EXPECT_TRUE(all[0].step.has_value());
  const auto dualpipe_entry = std::ranges::find(all, dualpipe, &ComparedSchedule::kind);
  EXPECT_FALSE(dualpipe_entry->step.has_value());
  EXPECT_THAT(dualpipe_entry->refusal, testing::HasSubstr("take at least 16"));
}

TEST(ScheduleComparisonTest, SizesThatCannotBeAreRefused) {
  const auto refusal = [](PipelineSizes sizes) {
    return test::error_of([&] { (void)pipeline_case(interleaved, sizes); });
  };
  EXPECT_THAT(refusal({.parallelism = 0}), testing::HasSubstr("pipeline of 0: take 1"));
  EXPECT_THAT(refusal({.parallelism = 2'000'000'000}), testing::HasSubstr("take 1 to 4096"));
  EXPECT_THAT(refusal({.chunks = 0}), testing::HasSubstr("0 chunks"));
  EXPECT_THAT(refusal({.parallelism = 4096, .chunks = 4096, .on_ranks = true}), testing::HasSubstr("stages"));
  EXPECT_THAT(refusal({.times = {.forward = -1}}), testing::HasSubstr("forward of -1"));
  EXPECT_THAT(test::error_of([] { (void)compare_schedules({.times = {.weight = 9}}); }),
              testing::HasSubstr("weight at most backward"));
}

}  // namespace
}  // namespace fathom
