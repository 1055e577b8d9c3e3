#include "plan/schedule_simulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <tuple>

#include "support/error_text.h"
#include "support/pipeline_shapes.h"

namespace fathom {
namespace {

using enum PipelineKind;
constexpr double kClose = 1e-12;  // relative: sums of some hundred terms

/// Simulates every shape of that kind and counts those where the published formula holds, which must then be
/// exact.
int exact_bubbles(PipelineKind kind, const PipelineTimes& times) {
  int exact = 0;
  for (const std::int32_t stages : {1, 2, 3, 4, 6, 8, 12})
    for (const std::int32_t micro_batches : {1, 2, 3, 4, 6, 8, 12, 16, 21, 24, 30}) {
      if (!test::pipeline_exists(kind, stages, micro_batches)) continue;
      PipelineShape shape = {.kind = kind, .stages = stages, .micro_batches = micro_batches};
      if (kind == interleaved) {
        shape.stages *= 3;
        shape.stages_per_rank = 3;
      }
      const BubbleFormula formula = bubble_formula(shape, times);
      if (!formula.exact) continue;
      ++exact;
      const SimulatedStep step = simulate_schedule(shape, times);
      EXPECT_NEAR(step.bubble(), formula.value, kClose * step.makespan)
          << pipeline_kind_title(kind) << ", " << shape.stages << " stages, " << micro_batches
          << " micro-batches, F " << times.forward << " B " << times.backward << " W " << times.weight
          << " F&B " << times.forward_backward;
    }
  return exact;
}

constexpr double kDurations[] = {0.3, 0.7, 1.0, 1.9};

TEST(ScheduleSimulatorTest, BubbleOf1F1BIsThePublishedOneForAllTimes) {
  for (const double forward : kDurations)
    for (const double backward : kDurations)
      EXPECT_EQ(exact_bubbles(one_f_one_b, {.forward = forward, .backward = backward, .weight = 0}), 77);
}

TEST(ScheduleSimulatorTest, BubbleOfInterleavedIsThePublishedOneWhereGroupsAreFull) {
  for (const double forward : kDurations)
    for (const double backward : kDurations)
      EXPECT_EQ(exact_bubbles(interleaved, {.forward = forward, .backward = backward, .weight = 0}), 39);
}

TEST(ScheduleSimulatorTest, BubbleOfZb1pIsThePublishedOneWhereWeightGradientsAreShortest) {
  for (const double forward : kDurations)
    for (const double input : kDurations)
      for (const double weight : kDurations) {
        const PipelineTimes times = {.forward = forward, .backward = input + weight, .weight = weight};
        // One stage alone has no bubble, whatever the times.
        EXPECT_EQ(exact_bubbles(zb1p, times), times.weight <= std::min(forward, input) ? 56 : 11);
      }
}

// The header's word for the other times.
TEST(ScheduleSimulatorTest, LongWeightGradientsFillTheirGapsOfZb1p) {
  for (const double forward : kDurations)
    for (const double input : kDurations)
      for (const std::int32_t micro_batches : {8, 12, 21}) {
        const PipelineTimes times = {.forward = forward, .backward = input + 2.5, .weight = 2.5};
        const SimulatedStep step =
            simulate_schedule({.kind = zb1p, .stages = 8, .micro_batches = micro_batches}, times);
        EXPECT_NEAR(step.bubble(), 7 * std::max(forward, input), kClose * step.makespan);
      }
}

TEST(ScheduleSimulatorTest, BubblesOfDualPipeAreThePublishedOnesWhereForwardAndInputBackwardAreEqual) {
  for (const double forward : kDurations)
    for (const double part : {0.0, 0.25, 0.6, 1.0}) {
      const double backward = forward + part * forward;
      for (const double overlap : {0.0, 0.5, 1.0}) {  // of the shorter in the longer
        const PipelineTimes times = {.forward = forward,
                                     .backward = backward,
                                     .weight = part * forward,
                                     .forward_backward = forward + backward - overlap * forward};
        EXPECT_EQ(exact_bubbles(dualpipe, times), 21);
        EXPECT_EQ(exact_bubbles(dualpipe_v, times), 36);
      }
    }
}

TEST(ScheduleSimulatorTest, OtherTimesHaveNoExactFormulaForDualPipe) {
  const PipelineTimes times = {.forward = 1, .backward = 3, .weight = 1, .forward_backward = 4};
  const PipelineShape shape = {.kind = dualpipe, .stages = 8, .micro_batches = 20};
  EXPECT_FALSE(bubble_formula(shape, times).exact);
  EXPECT_NE(simulate_schedule(shape, times).bubble(), bubble_formula(shape, times).value);
}

// DESIGN, section 5.
TEST(ScheduleSimulatorTest, TheReportsExampleTakes66) {
  const SimulatedStep step = simulate_schedule({.kind = dualpipe, .stages = 8, .micro_batches = 20}, {});
  EXPECT_EQ(step.makespan, 66);
  EXPECT_EQ(step.bubble(), 6);
  for (const RankLoad& load : step.loads) EXPECT_EQ(load.in_flight, 9);
}

TEST(ScheduleSimulatorTest, DualPipesBubbleIsBelowZb1psBelow1F1Bs) {
  for (const std::int32_t stages : {4, 8, 16}) {
    const auto bubble = [&](PipelineKind kind) {
      return simulate_schedule({.kind = kind, .stages = stages, .micro_batches = 4 * stages}, {}).bubble();
    };
    EXPECT_LT(bubble(dualpipe), bubble(zb1p));
    EXPECT_LT(bubble(zb1p), bubble(one_f_one_b));
  }
}

// Two ranks, one micro-batch: there and back, F 1, B 2 and a message of 0.5 each way.
TEST(ScheduleSimulatorTest, MessagesTakeTheirTime) {
  const SimulatedStep step = simulate_schedule({.kind = one_f_one_b, .stages = 2, .micro_batches = 1},
                                               {.weight = 0, .communication = 0.5});
  ASSERT_EQ(step.computed[1].size(), 2);
  EXPECT_EQ(step.computed[1][0].begin, 1.5);
  EXPECT_EQ(step.computed[1][1].end, 4.5);
  EXPECT_EQ(step.computed[0][1].begin, 5);
  EXPECT_EQ(step.makespan, 7);
  EXPECT_EQ(step.busy, (std::vector<double>{3, 3}));
  EXPECT_EQ(step.idle(0), 4);
  EXPECT_DOUBLE_EQ(step.idle_fraction(), 4.0 / 7);
  EXPECT_FALSE(bubble_formula(step.shape, step.times).exact);
}

/// When each chunk's forward (false) or input gradient (true) has been computed.
using ChunkEnds = std::map<std::tuple<bool, int, int>, double>;

ChunkEnds ends_of(const SimulatedStep& step) {
  ChunkEnds ends;
  for (const auto& rank : step.computed)
    for (const TimedAction& timed : rank) {
      if (const StageBatch* chunk = timed.action.forward_part())
        ends[{false, chunk->stage, chunk->micro_batch}] = timed.end;
      if (const StageBatch* chunk = timed.action.backward_part())
        ends[{true, chunk->stage, chunk->micro_batch}] = timed.end;
    }
  return ends;
}

/// The earliest that an action may begin for what comes from the stages beside it.
double earliest(const SimulatedStep& step, const ChunkEnds& ends, const Action& action) {
  double time = 0;
  const auto wait_for = [&](bool gradient, StageBatch own, int stage) {
    if (stage < 0 || stage >= step.shape.stages) return;
    const StageBatch from = {.stage = static_cast<std::int16_t>(stage), .micro_batch = own.micro_batch};
    const bool local = step.shape.rank_of(from) == step.shape.rank_of(own);
    time =
        std::max(time, ends.at({gradient, stage, own.micro_batch}) + (local ? 0 : step.times.communication));
  };
  if (const StageBatch* chunk = action.forward_part()) wait_for(false, *chunk, chunk->stage - 1);
  if (const StageBatch* chunk = action.backward_part()) wait_for(true, *chunk, chunk->stage + 1);
  return time;
}

TEST(ScheduleSimulatorTest, NoRankDoesTwoThingsAtOnceOrUsesWhatHasNotArrived) {
  const PipelineTimes times = {
      .forward = 1, .backward = 2.2, .weight = 0.9, .forward_backward = 2.8, .communication = 0.35};
  for (const PipelineKind kind : kPipelineKinds) {
    const SimulatedStep step = simulate_schedule(
        {.kind = kind, .stages = 8, .micro_batches = 16, .stages_per_rank = kind == interleaved ? 2 : 1},
        times);
    const ChunkEnds ends = ends_of(step);
    EXPECT_EQ(ends.size(), 2 * 8 * 16);
    for (const auto& rank : step.computed) {
      double last_end = 0;
      for (const TimedAction& timed : rank) {
        EXPECT_GE(timed.begin, std::max(last_end, earliest(step, ends, timed.action)));
        last_end = timed.end;
      }
    }
  }
}

TEST(ScheduleSimulatorTest, TimesThatCannotBeAreRefused) {
  const auto refusal = [](PipelineTimes times) { return test::error_of([&] { check_times(times); }); };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(refusal({}), "no error");
  EXPECT_THAT(refusal({.forward = 0}), testing::HasSubstr("forward of 0"));
  EXPECT_THAT(refusal({.forward = nan}), testing::HasSubstr("forward of nan"));
  EXPECT_THAT(refusal({.backward = 0.5}), testing::HasSubstr("backward of 0.5"));
  EXPECT_THAT(refusal({.weight = -1}), testing::HasSubstr("weight of -1"));
  EXPECT_THAT(refusal({.forward_backward = infinity}), testing::HasSubstr("pair of inf"));
  EXPECT_THAT(refusal({.communication = -0.1}), testing::HasSubstr("communication of -0.1"));
}

TEST(ScheduleSimulatorTest, AScheduleThatCannotRunIsRefused) {
  PipelineSchedule schedule = make_schedule({.kind = zb1p, .stages = 2, .micro_batches = 2});
  schedule.actions[1].pop_back();
  EXPECT_THAT(test::error_of([&] { (void)simulate_schedule(schedule, {}); }),
              testing::HasSubstr("is missing"));
}

}  // namespace
}  // namespace fathom
