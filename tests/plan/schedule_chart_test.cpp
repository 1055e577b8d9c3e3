#include "plan/schedule_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/occurrences.h"

namespace fathom {
namespace {

using test::occurrences;
using testing::HasSubstr;
using testing::Not;

ComparedSchedule drawn_case(PipelineKind kind, std::int32_t micro_batches) {
  const PipelineCase pipeline = pipeline_case(kind, {.parallelism = 4, .micro_batches = micro_batches});
  return {.kind = kind, .step = simulate_schedule(pipeline.shape, pipeline.times), .refusal = {}};
}

TEST(ScheduleChartTest, EveryComputationIsABlockThatSaysWhatItIs) {
  const ComparedSchedule schedule = drawn_case(PipelineKind::zb1p, 6);
  const std::string svg = schedules_svg({&schedule, 1});
  std::size_t blocks = 0;
  for (const auto& rank : schedule.step->computed) blocks += rank.size();
  EXPECT_EQ(occurrences(svg, "<title>"), blocks);
  EXPECT_THAT(svg, HasSubstr("<title>forward of micro-batch 0 on stage 0: 0 to 1</title>"));
  for (int rank = 0; rank < 4; ++rank) EXPECT_THAT(svg, HasSubstr(fmt::format(">rank {}</text>", rank)));
}

TEST(ScheduleChartTest, AnOverlappedPairShowsBothItsMicroBatches) {
  const ComparedSchedule schedule = drawn_case(PipelineKind::dualpipe, 8);
  const auto& rank = schedule.step->computed[0];
  const auto pair = std::ranges::find(rank, ActionKind::forward_backward,
                                      [](const TimedAction& timed) { return timed.action.kind; });
  ASSERT_NE(pair, rank.end());
  const std::string svg = schedules_svg({&schedule, 1});
  const std::size_t at = svg.find(action_text(pair->action));
  ASSERT_NE(at, std::string::npos);
  const std::string block = svg.substr(at, svg.find("</g>", at) - at);
  EXPECT_THAT(block, HasSubstr("block f"));
  EXPECT_THAT(block, HasSubstr("block b"));
  EXPECT_THAT(block, HasSubstr(fmt::format(">{}</text>", pair->action.chunk.micro_batch)));
  EXPECT_THAT(block, HasSubstr(fmt::format(">{}</text>", pair->action.backward_chunk.micro_batch)));
}

TEST(ScheduleChartTest, SchedulesShareOneScaleAndOneLegend) {
  const ComparedSchedule schedules[] = {drawn_case(PipelineKind::one_f_one_b, 8),
                                        drawn_case(PipelineKind::dualpipe, 8)};
  const std::string svg = schedules_svg(schedules);
  EXPECT_EQ(occurrences(svg, "Bi backward of inputs"), 1U);
  EXPECT_EQ(occurrences(svg, "class=\"title\""), 2U);
  EXPECT_LT(schedules_svg({schedules, 1}).size(), svg.size());
  EXPECT_THAT(svg, HasSubstr("DualPipe: 4 stages on 4 ranks, 8 micro-batches. Makespan 26, bubble 2"));
}

TEST(ScheduleChartTest, ChunksThatTakeNoTimeHaveNoBlock) {
  const PipelineShape shape = {.kind = PipelineKind::zb1p, .stages = 2, .micro_batches = 2};
  const ComparedSchedule schedule = {
      .kind = shape.kind, .step = simulate_schedule(shape, {.weight = 0}), .refusal = {}};
  EXPECT_THAT(schedules_svg({&schedule, 1}), Not(HasSubstr("weight backward")));
}

TEST(ScheduleChartTest, WhatNoPictureCanShowIsRefused) {
  EXPECT_THAT(test::error_of([] { (void)schedules_svg({}); }), HasSubstr("no schedule to draw"));
  const ComparedSchedule schedule = drawn_case(PipelineKind::one_f_one_b, 20'000);
  EXPECT_THAT(test::error_of([&] {
                (void)schedules_svg({&schedule, 1});
              }),
              HasSubstr("160000 blocks are too many"));
}

}  // namespace
}  // namespace fathom
