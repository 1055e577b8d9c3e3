#include "dist/schedule_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/error_text.h"
#include "support/pipeline_shapes.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

/// Checks every schedule of up to so many ranks (DualPipeV: stages) and micro-batches, and that its chunks in
/// flight are the table's. @return how many shapes there were
std::int64_t sweep(PipelineKind kind, std::int32_t stages_per_rank, std::int32_t most_ranks,
                   std::int32_t most_micro_batches) {
  std::int64_t shapes = 0;
  for (std::int32_t ranks = 1; ranks <= most_ranks; ++ranks)
    for (std::int32_t micro_batches = 1; micro_batches <= most_micro_batches; ++micro_batches) {
      const PipelineShape shape = {.kind = kind,
                                   .stages = ranks * stages_per_rank,
                                   .micro_batches = micro_batches,
                                   .stages_per_rank = stages_per_rank};
      if (!test::pipeline_exists(kind, shape.stages, micro_batches)) continue;
      ++shapes;
      const std::vector<RankLoad> loads = check_schedule(make_schedule(shape));
      for (std::int32_t rank = 0; rank < shape.ranks(); ++rank)
        EXPECT_EQ(loads[static_cast<std::size_t>(rank)].in_flight, most_in_flight(shape, rank))
            << pipeline_kind_title(kind) << ", " << shape.stages << " stages, " << micro_batches
            << " micro-batches, rank " << rank;
    }
  return shapes;
}

TEST(ScheduleCheckTest, Every1F1BIsValid) {
  EXPECT_EQ(sweep(PipelineKind::one_f_one_b, 1, 32, 128), 32 * 128);
}

TEST(ScheduleCheckTest, EveryInterleavedIsValid) {
  EXPECT_EQ(sweep(PipelineKind::interleaved, 2, 32, 128), 32 * 128);
}

TEST(ScheduleCheckTest, InterleavedOfOneAndMoreStagesPerRankIsValid) {
  for (const std::int32_t stages_per_rank : {1, 3, 4, 7})
    EXPECT_EQ(sweep(PipelineKind::interleaved, stages_per_rank, 12, 40), 12 * 40);
}

TEST(ScheduleCheckTest, EveryZb1pIsValid) {
  EXPECT_EQ(sweep(PipelineKind::zb1p, 1, 32, 128), 32 * 128);
}

TEST(ScheduleCheckTest, EveryDualPipeIsValid) {
  EXPECT_EQ(sweep(PipelineKind::dualpipe, 1, 32, 128), 768);
}

TEST(ScheduleCheckTest, EveryDualPipeVIsValid) {
  EXPECT_EQ(sweep(PipelineKind::dualpipe_v, 1, 32, 128), 1792);
}

// The report's table: chunks in flight in units of a stage.
TEST(ScheduleCheckTest, ChunksInFlightAreThoseOfTheTable) {
  const auto most = [](PipelineShape shape) {
    std::vector<std::int64_t> counts;
    for (const RankLoad& load : check_schedule(make_schedule(shape))) counts.push_back(load.in_flight);
    return counts;
  };
  using enum PipelineKind;
  using Counts = std::vector<std::int64_t>;
  EXPECT_EQ(most({.kind = one_f_one_b, .stages = 4, .micro_batches = 9}), (Counts{4, 3, 2, 1}));
  EXPECT_EQ(most({.kind = zb1p, .stages = 4, .micro_batches = 9}), (Counts{4, 4, 4, 4}));
  EXPECT_EQ(most({.kind = dualpipe, .stages = 4, .micro_batches = 10}), (Counts{5, 5, 5, 5}));
  EXPECT_EQ(most({.kind = dualpipe_v, .stages = 8, .micro_batches = 10}), (Counts{9, 9, 9, 9}));
  EXPECT_EQ(most({.kind = interleaved, .stages = 8, .micro_batches = 8, .stages_per_rank = 2}),
            (Counts{11, 9, 7, 5}));
}

// DESIGN, section 5, with h the distance to the nearer end: PP - h - 1 weight gradients are computed apart
// from their input gradients, of which at most h + 1 wait at once.
TEST(ScheduleCheckTest, DualPipePutsOffWeightGradientsAsTheDesignSays) {
  const PipelineSchedule schedule =
      make_schedule({.kind = PipelineKind::dualpipe, .stages = 8, .micro_batches = 20});
  const std::vector<RankLoad> loads = check_schedule(schedule);
  for (std::size_t rank = 0; rank < 8; ++rank) {
    const auto h = static_cast<std::int64_t>(std::min(rank, 7 - rank));
    EXPECT_EQ(std::ranges::count(schedule.actions[rank], ActionKind::backward_weight, &Action::kind),
              8 - h - 1);
    EXPECT_EQ(loads[rank].waiting_weights, h + 1);
  }
}

/// A valid 1F1B list of two ranks and two micro-batches for tests to spoil. Rank 0: F0, send, F1, receive
/// gradient 0 ..., see PipelineScheduleTest.
class SpoiltScheduleTest : public testing::Test {
 protected:
  [[nodiscard]] std::string refusal() const {
    return error_of([this] { (void)check_schedule(schedule_); });
  }
  [[nodiscard]] std::size_t find(std::size_t rank, ActionKind kind, std::int16_t micro_batch) const {
    const std::vector<Action>& list = schedule_.actions[rank];
    const auto found = std::ranges::find_if(list, [&](const Action& action) {
      return action.kind == kind && action.chunk.micro_batch == micro_batch;
    });
    return static_cast<std::size_t>(found - list.begin());
  }
  void drop(std::size_t rank, ActionKind kind, std::int16_t micro_batch) {
    std::vector<Action>& list = schedule_.actions[rank];
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(find(rank, kind, micro_batch)));
  }
  Action& at(std::size_t rank, ActionKind kind, std::int16_t micro_batch) {
    return schedule_.actions[rank].at(find(rank, kind, micro_batch));
  }

  PipelineSchedule schedule_ =
      make_schedule({.kind = PipelineKind::one_f_one_b, .stages = 2, .micro_batches = 2});
};

TEST_F(SpoiltScheduleTest, MissingActionsAreNamed) {
  drop(0, ActionKind::send_activation, 1);
  EXPECT_EQ(refusal(),
            "1F1B, rank 0, action 7 (end of the list): the send activation of micro-batch 1 on stage 0 is "
            "missing");
}

TEST_F(SpoiltScheduleTest, ComputingBeforeReceivingIsRefused) {
  drop(1, ActionKind::receive_activation, 1);
  EXPECT_EQ(
      refusal(),
      "1F1B, rank 1, action 4 (forward of micro-batch 1 on stage 1): its input has not been received: post "
      "the receive before it");
}

TEST_F(SpoiltScheduleTest, ABackwardBeforeItsForwardIsRefused) {
  std::swap(at(1, ActionKind::forward, 0), at(1, ActionKind::backward, 0));
  EXPECT_THAT(refusal(), HasSubstr("its forward has not run"));
}

TEST_F(SpoiltScheduleTest, ReceivesOutOfTheSendersOrderAreRefused) {
  std::vector<Action>& list = schedule_.actions[1];  // receive 0, forward 0, receive 1, ...
  std::rotate(list.begin(), list.begin() + 2, list.begin() + 3);
  EXPECT_EQ(
      refusal(),
      "1F1B, rank 1, action 0 (receive activation of micro-batch 1 on stage 1 from rank 0): it is message 1 "
      "between the two ranks here and message 2 there: keep the sender's order");
}

TEST_F(SpoiltScheduleTest, AWrongPeerIsRefused) {
  at(0, ActionKind::send_activation, 0).peer = 0;
  EXPECT_THAT(refusal(), HasSubstr("the stage on its other side is on rank 1"));
  at(0, ActionKind::send_activation, 0).peer = -7;
  EXPECT_THAT(refusal(), HasSubstr("to rank -7"));
}

TEST_F(SpoiltScheduleTest, ChunksOfOtherRanksAndNoneAreRefused) {
  at(0, ActionKind::forward, 1).chunk.stage = 1;
  EXPECT_THAT(refusal(), HasSubstr("stage 1 of micro-batch 1 is on rank 1"));
  at(0, ActionKind::forward, 0).chunk.micro_batch = -1;
  EXPECT_THAT(refusal(), HasSubstr("there are 2 stages and 2 micro-batches"));
}

TEST_F(SpoiltScheduleTest, AKindOfActionThatDoesNotExistIsRefused) {
  at(0, ActionKind::forward, 0).kind = static_cast<ActionKind>(200);
  EXPECT_THAT(refusal(), HasSubstr("there is no such kind of action"));
}

TEST_F(SpoiltScheduleTest, AllForwardsFirstIsTooMuchInFlight) {
  std::vector<Action>& list = schedule_.actions[1];
  const std::size_t forward = find(1, ActionKind::forward, 1);
  std::rotate(list.begin() + static_cast<std::ptrdiff_t>(find(1, ActionKind::backward, 0)),
              list.begin() + static_cast<std::ptrdiff_t>(forward),
              list.begin() + static_cast<std::ptrdiff_t>(forward) + 1);
  EXPECT_THAT(refusal(), HasSubstr("chunk 2 in flight, the schedule's limit is 1"));
}

TEST_F(SpoiltScheduleTest, ListsForOtherRanksAreRefused) {
  schedule_.actions.emplace_back();
  EXPECT_THAT(refusal(), HasSubstr("lists for 3 ranks, 2 stages need 2"));
}

// Each of the two ranks wants the other's gradient before it computes the one that the other wants.
TEST(ScheduleCheckTest, RanksThatWaitForEachOtherAreADeadlock) {
  PipelineSchedule schedule = make_schedule(
      {.kind = PipelineKind::interleaved, .stages = 4, .micro_batches = 2, .stages_per_rank = 2});
  ASSERT_EQ(error_of([&] { (void)check_schedule(schedule); }), "no error");
  // Rank 0 runs slot 1's first chunk, which comes back from rank 1, before it sends slot 0's first output.
  std::vector<Action>& list = schedule.actions[0];
  const auto is = [](ActionKind kind, std::int16_t stage) {
    return [=](const Action& action) {
      return action.kind == kind && action.chunk == StageBatch{.stage = stage, .micro_batch = 0};
    };
  };
  const auto receive = std::ranges::find_if(list, is(ActionKind::receive_activation, 2));
  const Action posted = *receive;
  list.erase(receive);
  list.insert(list.begin(), posted);
  const auto forward = std::ranges::find_if(list, is(ActionKind::forward, 2));
  const Action run = *forward;
  list.erase(forward);
  list.insert(std::ranges::find_if(list, is(ActionKind::send_activation, 0)), run);
  EXPECT_EQ(error_of([&] { (void)check_schedule(schedule); }),
            "Interleaved 1F1B, rank 0, action 2 (forward of micro-batch 0 on stage 2): deadlock: what it "
            "waits for is "
            "sent by no rank that can go on");
}

TEST(ScheduleCheckTest, AChunkCannotOverlapItself) {
  PipelineSchedule schedule =
      make_schedule({.kind = PipelineKind::one_f_one_b, .stages = 1, .micro_batches = 1});
  const StageBatch chunk = {.stage = 0, .micro_batch = 0};
  schedule.actions[0] = {{.kind = ActionKind::forward_backward, .chunk = chunk, .backward_chunk = chunk}};
  EXPECT_THAT(error_of([&] { (void)check_schedule(schedule); }), HasSubstr("cannot overlap its own forward"));
}

}  // namespace
}  // namespace fathom
