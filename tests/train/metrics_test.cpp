#include "train/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class MetricsLogTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "metrics.jsonl";

  static StepMetrics step(std::int64_t number) {
    return {.step = number,
            .loss = 1.0 / static_cast<double>(number),
            .mtp_loss = 2.5,
            .balance_loss = 1.25,
            .learning_rate = 1e-3,
            .mtp_loss_factor = 0.3,
            .router_bias_update_rate = 2e-3,
            .batch_size = 4,
            .gradient_norm = 0.7,
            .max_vio = 0.4,
            .layer_max_vio = {0.3, 0.5},
            .tokens = number * 64,
            .tokens_per_second = 1000};
  }
  static EvalMetrics eval(std::int64_t number) {
    return {.step = number,
            .loss = 3.25,
            .mtp_loss = std::nullopt,
            .source_loss = {{"web", 3.5}, {"books", 2.5}},
            .bits_per_byte = 1.5,
            .tokens = 100,
            .draft_acceptance = {0.75, 0.5},
            .sampled_draft_acceptance = {0.625, 0.25},
            .needle_accuracy = 0.25,
            .tokens_per_step = 2.125,
            .max_vio = 0.1,
            .layer_max_vio = {0.05, 0.15},
            .batch_max_vio = 0.6,
            .expert_load = {{1.5, 0.5}, {1, 1}}};
  }

  /// Steps, and evaluations as negative numbers, in file order.
  std::vector<std::int64_t> read() const {
    std::vector<std::int64_t> order;
    read_metrics(
        file_, [&](const StepMetrics& m) { order.push_back(m.step); },
        [&](const EvalMetrics& m) { order.push_back(-m.step); });
    return order;
  }
};

TEST_F(MetricsLogTest, ReadsBackWhatWasWritten) {
  MetricsLog log(file_, 0);
  log.append(step(3));
  log.append(eval(3));
  StepMetrics got;
  EvalMetrics evaluated;
  read_metrics(
      file_, [&](const StepMetrics& m) { got = m; }, [&](const EvalMetrics& m) { evaluated = m; });
  EXPECT_EQ(got.loss, 1.0 / 3);
  EXPECT_EQ(got.mtp_loss, 2.5);
  EXPECT_EQ(got.tokens, 192);
  EXPECT_EQ(got.mtp_loss_factor, 0.3);
  EXPECT_EQ(got.router_bias_update_rate, 2e-3);
  EXPECT_EQ(got.batch_size, 4);
  EXPECT_THAT(got.layer_max_vio, ElementsAre(0.3, 0.5));
  EXPECT_EQ(evaluated.mtp_loss, std::nullopt);
  EXPECT_THAT(evaluated.source_loss, ElementsAre(SourceLoss{"web", 3.5}, SourceLoss{"books", 2.5}));
  EXPECT_EQ(evaluated.bits_per_byte, 1.5);
  EXPECT_THAT(evaluated.draft_acceptance, ElementsAre(0.75, 0.5));
  EXPECT_THAT(evaluated.sampled_draft_acceptance, ElementsAre(0.625, 0.25));
  EXPECT_EQ(evaluated.tokens_per_step, 2.125);
  EXPECT_THAT(evaluated.layer_max_vio, ElementsAre(0.05, 0.15));
  EXPECT_EQ(evaluated.batch_max_vio, 0.6);
  EXPECT_EQ(evaluated.needle_accuracy, 0.25);
  EXPECT_THAT(evaluated.expert_load, ElementsAre(ElementsAre(1.5, 0.5), ElementsAre(1, 1)));
}

// As the first versions wrote them, and with a figure of a version to come.
TEST_F(MetricsLogTest, LinesOfOtherVersionsAreRead) {
  std::ofstream(file_) << R"({"step":1,"loss":2.5,"tokens":64,"max_vio":null,"of_the_future":[1]})"
                       << "\n"
                       << R"({"step":1,"held_out_loss":3.5,"bits_per_byte":1.5,"expert_load":[[2,0]]})"
                       << "\n";
  { MetricsLog(file_, 1).append(step(2)); }
  std::vector<StepMetrics> steps;
  std::vector<EvalMetrics> evaluations;
  read_metrics(
      file_, [&](const StepMetrics& m) { steps.push_back(m); },
      [&](const EvalMetrics& m) { evaluations.push_back(m); });
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].loss, 2.5);
  EXPECT_EQ(steps[0].tokens, 64);
  EXPECT_EQ(steps[0].mtp_loss, std::nullopt);
  EXPECT_TRUE(std::isnan(steps[0].gradient_norm)) << "0 would be a measurement";
  EXPECT_EQ(steps[1].step, 2);
  ASSERT_EQ(evaluations.size(), 1U);
  EXPECT_EQ(evaluations[0].loss, 3.5);
  EXPECT_THAT(evaluations[0].draft_acceptance, ElementsAre());
  EXPECT_EQ(evaluations[0].needle_accuracy, std::nullopt);
  EXPECT_THAT(evaluations[0].expert_load, ElementsAre(ElementsAre(2, 0)));
}

TEST_F(MetricsLogTest, WhatIsNoNumberIsReadAsSuch) {
  {
    EvalMetrics evaluation = eval(1);
    evaluation.loss = std::numeric_limits<double>::quiet_NaN();
    MetricsLog(file_, 0).append(evaluation);
  }
  double loss = 0;
  read_metrics(
      file_, [](const StepMetrics&) {}, [&](const EvalMetrics& m) { loss = m.loss; });
  EXPECT_TRUE(std::isnan(loss));
}

TEST_F(MetricsLogTest, ResumingDropsTheStepsAfterTheCheckpoint) {
  {
    MetricsLog log(file_, 0);
    for (int i = 1; i <= 5; ++i) {
      log.append(step(i));
      if (i % 2 == 0) log.append(eval(i));
    }
  }
  {
    MetricsLog log(file_, 4);
    EXPECT_THAT(read(), ElementsAre(1, 2, -2, 3, 4, -4));
    log.append(step(5));
  }
  EXPECT_THAT(read(), ElementsAre(1, 2, -2, 3, 4, -4, 5));
  { MetricsLog log(file_, 0); }
  EXPECT_THAT(read(), ElementsAre());
}

TEST_F(MetricsLogTest, ResumingDropsALineThatWasCutShort) {
  { MetricsLog(file_, 0).append(step(1)); }
  std::ofstream(file_, std::ios::app) << "{\"step\":2,\"loss\":0.";
  { MetricsLog(file_, 10).append(step(2)); }
  EXPECT_THAT(read(), ElementsAre(1, 2));
}

TEST_F(MetricsLogTest, ALineThatIsBeingWrittenIsNotRead) {
  { MetricsLog(file_, 0).append(step(1)); }
  for (const char* part : {"{", "{\"step\":2,\"loss\":0.", R"({"step":2,"loss":0.5})"}) {
    std::ofstream(file_, std::ios::app) << part;
    EXPECT_THAT(read(), ElementsAre(1)) << part;
    std::filesystem::resize_file(file_, std::filesystem::file_size(file_) - std::string(part).size());
  }
}

TEST_F(MetricsLogTest, AFullDiskIsNamed) {
  MetricsLog log(file_, 0);
  const test::FileSizeLimit limit(0);
  try {
    log.append(step(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("metrics.jsonl: cannot write: File too large"));
  }
}

TEST_F(MetricsLogTest, WhatIsNoFileIsNamed) {
  std::filesystem::create_symlink("/dev/null", file_);
  try {
    const MetricsLog log(file_, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("metrics.jsonl: cannot write: not a regular file"));
  }
}

TEST_F(MetricsLogTest, ADamagedLineIsNamed) {
  for (const char* line :
       {R"({"step":1})", R"({"loss":1})", R"({"step":1,"loss":"low"})", "[1]",
        R"({"step":1,"loss":1,"layer_max_vio":2})", R"({"step":1,"held_out_loss":1,"expert_load":[1]})",
        R"({"step":1,"held_out_loss":1,"held_out_source_loss":[{"source":1,"loss":1}]})"}) {
    std::ofstream(file_) << line << "\n";
    EXPECT_THAT(test::error_of([&] { read(); }), HasSubstr("metrics.jsonl:1: not a line of metrics")) << line;
  }
}

}  // namespace
}  // namespace fathom
