#include "plan/training_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/planned_training.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class TrainingReportTest : public testing::Test {
 protected:
  TrainingEstimator estimator_{test::planned_task("deepseek-v3"), load_hardware("h800")};
  ReportedTraining training_{estimator_, estimator_.estimate(test::report_layout()), "deepseek-v3"};
};

TEST_F(TrainingReportTest, TextHasThePublishedFiguresAndTheAssumptions) {
  EXPECT_THAT(training_text(training_),
              AllOf(HasSubstr("671,026,419,200"), HasSubstr("37,552,297,472"), HasSubstr("250.45 GFLOP"),
                    HasSubstr("70.272 KB"), HasSubstr("it fits"), HasSubstr("Assumptions"),
                    HasSubstr("linear maps reach"), HasSubstr("USD at 2 an hour")));
}

TEST_F(TrainingReportTest, TensorAndContextParallelismHaveRowsWhereTheyAre) {
  const ReportedTraining cut = {estimator_, estimator_.estimate(parse_layout("pp=8,tp=2,cp=2,ep=64", 2048)),
                                "deepseek-v3"};
  EXPECT_THAT(training_text(cut), AllOf(HasSubstr("pp=8,tp=2,cp=2"), HasSubstr("tensor-parallel collectives"),
                                        HasSubstr("latents of other ranks")));
  EXPECT_THAT(training_text(training_), Not(HasSubstr("tensor-parallel collectives")));
  const OrderedJson json = training_json(cut);
  EXPECT_EQ(json["layout"]["cp"], 2);
  EXPECT_GT(json["seconds"]["tensor_parallel_forward"].get<double>(), 0);
}

TEST_F(TrainingReportTest, JsonHasPlainNumbers) {
  const OrderedJson json = training_json(training_);
  EXPECT_EQ(json["parameters"]["total"], 671'026'419'200);
  EXPECT_EQ(json["cache_bytes_per_token"], 70'272);
  EXPECT_EQ(json["layout"]["ep"], 64);
  EXPECT_EQ(json["memory"]["fits"], true);
  EXPECT_NEAR(json["training"]["device_hours"].get<double>(), 2.664e6, 0.005 * 2.664e6);
}

TEST_F(TrainingReportTest, ThePageShowsThePipelineAndAsksNothingOfTheNetwork) {
  const std::string page = training_page(training_);
  EXPECT_THAT(page, AllOf(HasSubstr("<svg"), HasSubstr("NVIDIA H800"), HasSubstr("Device hours")));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("src=")), Not(HasSubstr("href="))));
}

TEST_F(TrainingReportTest, FoundLayoutsHaveARowEach) {
  LayoutSearch search;
  search.best = {training_.estimate};
  search.layouts = 7;
  EXPECT_THAT(search_text(estimator_, search), AllOf(HasSubstr("dualpipe"), HasSubstr("7 layouts")));
  const OrderedJson json = search_json(estimator_, search);
  EXPECT_EQ(json["best"][0]["layout"]["pp"], 16);
  EXPECT_EQ(json["layouts"], 7);
}

}  // namespace
}  // namespace fathom
