#include "plan/training_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dist/rank_stages.h"
#include "support/error_text.h"
#include "support/planned_training.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

TEST(TrainingLayoutTest, TheReportsLayoutIsReadAndWritten) {
  const TrainingLayout layout = parse_layout("pp=16,ep=64", 2048);
  EXPECT_EQ(layout.schedule, PipelineKind::dualpipe);
  EXPECT_EQ(layout.dp, 128);
  EXPECT_EQ(layout_text(layout), "pp=16,ep=64,dp=128,schedule=dualpipe,micro-batch=1,recompute=selective");
  EXPECT_EQ(layout_text(parse_layout(layout_text(layout), 2048)), layout_text(layout));
  EXPECT_EQ(pipeline_of(test::planned_task("deepseek-v3"), layout).micro_batches, 120);
}

TEST(TrainingLayoutTest, TensorAndContextParallelismTakeDevicesFromPipelines) {
  const TrainingLayout layout = parse_layout("pp=8,tp=2,cp=4,ep=16", 2048);
  EXPECT_EQ(layout.dp, 32);
  EXPECT_EQ(layout.stage_ranks(), 256);
  EXPECT_EQ(layout.layer_ranks(), 512) << "DualPipe's other direction, too";
  EXPECT_EQ(layout_text(layout),
            "pp=8,tp=2,cp=4,ep=16,dp=32,schedule=dualpipe,micro-batch=1,recompute=selective");
  EXPECT_EQ(pipeline_of(test::planned_task("deepseek-v3"), layout).micro_batches, 480);
  EXPECT_THAT(error_of([] { (void)parse_layout("pp=8,tp=3", 2048); }),
              HasSubstr("no multiple of pp=8 times tp=3"));
}

TEST(TrainingLayoutTest, WhatCannotBeReadIsNamed) {
  const auto refusal = [](const char* text) { return error_of([&] { (void)parse_layout(text, 64); }); };
  EXPECT_THAT(refusal("pp"), HasSubstr("key=value"));
  EXPECT_THAT(refusal("sp=2"), HasSubstr("sp: no such key"));
  EXPECT_THAT(refusal("pp=0"), HasSubstr("pp=0"));
  EXPECT_THAT(refusal("pp=4x"), HasSubstr("pp=4x"));
  EXPECT_THAT(refusal("pp=99999999999"), HasSubstr("whole number"));
  EXPECT_THAT(refusal("pp=7"), HasSubstr("no multiple of pp=7"));
  EXPECT_THAT(refusal("pp=4,dp=8"), HasSubstr("dp=8 are not 64 devices"));
  EXPECT_THAT(refusal("schedule=gpipe"), HasSubstr("schedule=gpipe"));
  EXPECT_THAT(refusal("recompute=none"), HasSubstr("selective or full"));
}

TEST(TrainingLayoutTest, WhatDoesNotFitTogetherIsNamed) {
  const TrainingTask task = test::planned_task("deepseek-v3");
  const auto refusal = [&](TrainingLayout layout) {
    return error_of([&] { (void)pipeline_of(task, layout); });
  };
  EXPECT_EQ(refusal(test::report_layout()), "no error");
  EXPECT_THAT(refusal({.pp = 16, .dp = 100}), HasSubstr("no multiple of 100 pipelines"));
  EXPECT_THAT(refusal({.pp = 16, .ep = 3, .dp = 128}), HasSubstr("ep=3 does not divide tp · cp · dp = 128"));
  EXPECT_THAT(refusal({.pp = 16, .ep = 512, .dp = 512}), HasSubstr("256 routed experts"));
  EXPECT_THAT(refusal({.pp = 16, .tp = 3, .dp = 128}), HasSubstr("tp=3 does not divide num_attention_heads"));
  EXPECT_THAT(refusal({.pp = 16, .cp = 3, .dp = 128}), HasSubstr("into 6 equal pieces"));
  EXPECT_THAT(refusal({.pp = 16, .chunks = 2, .dp = 128}), HasSubstr("interleaved schedules alone"));
  EXPECT_THAT(refusal({.pp = 16, .dp = 1024}), HasSubstr("take at least 32"));
}

TEST(TrainingLayoutTest, RanksHoldWhatTheScheduleRunsThere) {
  using Stages = std::vector<std::vector<std::size_t>>;
  EXPECT_EQ(stages_of_ranks({.kind = PipelineKind::zb1p, .stages = 2, .micro_batches = 4}),
            (Stages{{0}, {1}}));
  EXPECT_EQ(stages_of_ranks({.kind = PipelineKind::dualpipe, .stages = 4, .micro_batches = 8}),
            (Stages{{0, 3}, {1, 2}, {1, 2}, {0, 3}}));
  EXPECT_EQ(stages_of_ranks({.kind = PipelineKind::dualpipe_v, .stages = 4, .micro_batches = 4}),
            (Stages{{0, 3}, {1, 2}}));
  EXPECT_EQ(stages_of_ranks(
                {.kind = PipelineKind::interleaved, .stages = 4, .micro_batches = 4, .stages_per_rank = 2}),
            (Stages{{0, 2}, {1, 3}}));
}

}  // namespace
}  // namespace fathom
