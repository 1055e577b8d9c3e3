#include "dist/pipeline_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

/// As the golden file writes a rank's order: "F0.3 b1.2 w1.2 F0.4+B1.3".
std::string order_text(const PipelineSchedule& schedule, std::size_t rank) {
  const PipelineShape& shape = schedule.shape;
  const auto chunk = [&](char letter, StageBatch of) {
    const std::int32_t slot = shape.slot_of(of);
    const bool second_way = shape.kind == PipelineKind::dualpipe && slot == 1;
    return fmt::format("{}{}.{}", letter, slot, of.micro_batch - (second_way ? shape.micro_batches / 2 : 0));
  };
  std::string text;
  for (const Action& action : schedule.actions[rank]) {
    if (!action.computes()) continue;
    if (!text.empty()) text += ' ';
    switch (action.kind) {
      case ActionKind::forward:
        text += chunk('F', action.chunk);
        break;
      case ActionKind::backward:
        text += chunk('B', action.chunk);
        break;
      case ActionKind::backward_input:
        text += chunk('b', action.chunk);
        break;
      case ActionKind::backward_weight:
        text += chunk('w', action.chunk);
        break;
      default:
        text += chunk('F', action.chunk) + '+' + chunk('B', action.backward_chunk);
        break;
    }
  }
  return text;
}

// Goldens: torch.distributed.pipelining and DeepSeek's DualPipe.
TEST(PipelineScheduleTest, RanksComputeInTheOrderOfPublicImplementations) {
  const auto cases =
      nlohmann::json::parse(read_text_file(test::golden("dist/goldens/compute_orders.json"), 1U << 20U));
  for (const auto& golden : cases) {
    PipelineShape shape;
    shape.kind = pipeline_kind_named(golden.at("schedule").get<std::string>()).value();
    const auto ranks = golden.at("ranks").get<std::int32_t>();
    const bool one_stage = shape.kind == PipelineKind::dualpipe;
    shape.stages = one_stage ? ranks : ranks * golden.at("slots").get<std::int32_t>();
    shape.micro_batches = golden.at("micro_batches");
    if (shape.kind == PipelineKind::interleaved) shape.stages_per_rank = golden.at("slots");
    const PipelineSchedule schedule = make_schedule(shape);
    ASSERT_EQ(schedule.actions.size(), golden.at("orders").size());
    EXPECT_EQ(shape.slots(), golden.at("slots").get<std::int32_t>());
    for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank)
      EXPECT_EQ(order_text(schedule, rank), golden.at("orders").at(rank).get<std::string>())
          << golden.at("schedule") << ", " << ranks << " ranks, " << shape.micro_batches
          << " micro-batches, rank " << rank;
  }
}

TEST(PipelineScheduleTest, ReceivesAreOneComputationAheadAndSendsFollowAtOnce) {
  const PipelineSchedule schedule =
      make_schedule({.kind = PipelineKind::one_f_one_b, .stages = 2, .micro_batches = 2});
  std::vector<std::string> texts;
  for (const Action& action : schedule.actions[1]) texts.push_back(action_text(action));
  EXPECT_EQ(texts, (std::vector<std::string>{
                       "receive activation of micro-batch 0 on stage 1 from rank 0",
                       "forward of micro-batch 0 on stage 1",
                       "receive activation of micro-batch 1 on stage 1 from rank 0",
                       "backward of micro-batch 0 on stage 1",
                       "send gradient of micro-batch 0 on stage 1 to rank 0",
                       "forward of micro-batch 1 on stage 1",
                       "backward of micro-batch 1 on stage 1",
                       "send gradient of micro-batch 1 on stage 1 to rank 0",
                   }));
}

TEST(PipelineScheduleTest, AStageHandsOverOnItsOwnRankWithoutAMessage) {
  const PipelineShape shape = {.kind = PipelineKind::dualpipe_v, .stages = 4, .micro_batches = 4};
  const PipelineSchedule schedule = make_schedule(shape);
  for (const Action& action : schedule.actions[1]) {  // holds stages 1 and 2
    if (action.computes()) continue;
    const bool before =
        action.kind == ActionKind::receive_activation || action.kind == ActionKind::send_gradient;
    EXPECT_EQ(action.chunk.stage, before ? 1 : 2) << action_text(action);
    EXPECT_EQ(action.peer, 0);
  }
  const PipelineSchedule alone = make_schedule(
      {.kind = PipelineKind::interleaved, .stages = 3, .micro_batches = 2, .stages_per_rank = 3});
  for (const Action& action : alone.actions[0]) EXPECT_TRUE(action.computes());
}

TEST(PipelineScheduleTest, StagesLieWhereTheKindPutsThem) {
  const PipelineShape both = {.kind = PipelineKind::dualpipe, .stages = 4, .micro_batches = 8};
  EXPECT_EQ(both.rank_of({.stage = 1, .micro_batch = 3}), 1);
  EXPECT_EQ(both.rank_of({.stage = 1, .micro_batch = 4}), 2);
  EXPECT_EQ(both.slot_of({.stage = 1, .micro_batch = 4}), 1);
  const PipelineShape folded = {.kind = PipelineKind::dualpipe_v, .stages = 8, .micro_batches = 8};
  EXPECT_EQ(folded.ranks(), 4);
  EXPECT_EQ(folded.rank_of({.stage = 7, .micro_batch = 0}), 0);
  EXPECT_EQ(folded.slot_of({.stage = 7, .micro_batch = 0}), 1);
  const PipelineShape rounds = {
      .kind = PipelineKind::interleaved, .stages = 6, .micro_batches = 1, .stages_per_rank = 2};
  EXPECT_EQ(rounds.ranks(), 3);
  EXPECT_EQ(rounds.rank_of({.stage = 4, .micro_batch = 0}), 1);
  EXPECT_EQ(rounds.slot_of({.stage = 4, .micro_batch = 0}), 1);
}

TEST(PipelineScheduleTest, NamesAreThoseOfCommandsAndBack) {
  for (const PipelineKind kind : kPipelineKinds)
    EXPECT_EQ(pipeline_kind_named(pipeline_kind_name(kind)), kind) << pipeline_kind_title(kind);
  EXPECT_EQ(pipeline_kind_named("gpipe"), std::nullopt);
}

TEST(PipelineScheduleTest, MicroBatchesAreMadeUpToWhatAScheduleTakes) {
  EXPECT_EQ(fitting_micro_batches(PipelineKind::one_f_one_b, 8), 1);
  EXPECT_EQ(fitting_micro_batches(PipelineKind::zb1p, 8, 5), 5);
  EXPECT_EQ(fitting_micro_batches(PipelineKind::dualpipe, 8), 16);
  EXPECT_EQ(fitting_micro_batches(PipelineKind::dualpipe, 8, 17), 18);
  EXPECT_EQ(fitting_micro_batches(PipelineKind::dualpipe_v, 8, 3), 8);
  EXPECT_EQ(fitting_micro_batches(PipelineKind::dualpipe_v, 8, 9), 9);
  for (const PipelineKind kind : kPipelineKinds)
    for (std::int32_t at_least = 1; at_least < 40; ++at_least) {
      const auto count = static_cast<std::int32_t>(fitting_micro_batches(kind, 8, at_least));
      EXPECT_NO_THROW(check_shape({.kind = kind, .stages = 8, .micro_batches = count})) << at_least;
    }
}

TEST(PipelineScheduleTest, ShapesThatNoScheduleHasAreRefused) {
  const auto refusal = [](PipelineShape shape) { return error_of([&] { (void)make_schedule(shape); }); };
  using enum PipelineKind;
  EXPECT_THAT(refusal({.kind = one_f_one_b, .stages = 0, .micro_batches = 4}), HasSubstr("0 stages: take 1"));
  EXPECT_THAT(refusal({.kind = one_f_one_b, .stages = 2, .micro_batches = 0}), HasSubstr("0 micro-batches"));
  EXPECT_THAT(refusal({.kind = zb1p, .stages = 4096, .micro_batches = 32767}),
              HasSubstr("chunks: take fewer"));
  EXPECT_THAT(refusal({.kind = zb1p, .stages = 2, .micro_batches = 2'000'000'000}),
              HasSubstr("take 1 to 32767"));
  EXPECT_THAT(refusal({.kind = zb1p, .stages = 2, .micro_batches = 2, .stages_per_rank = 2}),
              HasSubstr("interleaved schedules alone"));
  EXPECT_THAT(refusal({.kind = interleaved, .stages = 8, .micro_batches = 4, .stages_per_rank = 3}),
              HasSubstr("take a multiple"));
  EXPECT_THAT(refusal({.kind = interleaved, .stages = 8, .micro_batches = 4, .stages_per_rank = 0}),
              HasSubstr("take a multiple"));
  EXPECT_THAT(refusal({.kind = dualpipe, .stages = 5, .micro_batches = 20}),
              HasSubstr("take an even number"));
  EXPECT_THAT(refusal({.kind = dualpipe, .stages = 8, .micro_batches = 14}), HasSubstr("take at least 16"));
  EXPECT_THAT(refusal({.kind = dualpipe, .stages = 8, .micro_batches = 17}),
              HasSubstr("two equal directions"));
  EXPECT_THAT(refusal({.kind = dualpipe_v, .stages = 8, .micro_batches = 7}), HasSubstr("take at least 8"));
  EXPECT_THAT(refusal({.kind = static_cast<PipelineKind>(77)}), HasSubstr("77"));
}

}  // namespace
}  // namespace fathom
