// `fathom plan schedule` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "support/program.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

test::ProgramResult plan_schedule(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"plan", "schedule"});
  return test::run_fathom(arguments);
}

TEST(PlanScheduleCommandTest, ComparesAllSchedulesUnlessOneIsNamed) {
  const auto result = plan_schedule({});
  EXPECT_EQ(result.status, 0) << result.err;
  for (const char* title : {"1F1B", "Interleaved 1F1B", "ZB1P", "DualPipe", "DualPipeV"})
    EXPECT_THAT(result.out, HasSubstr(title));
}

TEST(PlanScheduleCommandTest, PrintsTheReportsExampleAsJson) {
  const auto result =
      plan_schedule({"--schedule", "dualpipe", "--pp", "8", "--micro-batches", "20", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json json = parse_json(result.out, "plan schedule --json");
  ASSERT_EQ(json.size(), 1U);
  EXPECT_EQ(json[0]["makespan"], 66);
}

TEST(PlanScheduleCommandTest, DrawsPictureAndPage) {
  const test::TemporaryFolder folder;
  const std::string svg = folder.path() / "a.svg";
  const std::string html = folder.path() / "a.html";
  const auto result = plan_schedule({"--ranks", "4", "--svg", svg, "--html", html});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(read_text_file(svg, 1U << 22U), HasSubstr("DualPipeV: 8 stages on 4 ranks"));
  EXPECT_THAT(read_text_file(html, 1U << 22U), AllOf(HasSubstr("<svg"), HasSubstr("<table>")));
}

TEST(PlanScheduleCommandTest, WrongOptionsAreErrorsOfUsage) {
  EXPECT_CLEAN_FAILURE(plan_schedule({"--schedule", "dualpipe", "--pp", "7"}), 2, "take an even number");
  EXPECT_CLEAN_FAILURE(plan_schedule({"--schedule", "dualpipe", "--micro-batches", "10"}), 2,
                       "take at least 16");
  EXPECT_CLEAN_FAILURE(plan_schedule({"--schedule", "interleaved", "--chunks", "3"}), 2, "take a multiple");
  EXPECT_CLEAN_FAILURE(plan_schedule({"--forward", "0"}), 2, "forward of 0");
  EXPECT_CLEAN_FAILURE(plan_schedule({"--weight", "nan"}), 2, "weight of nan");
  EXPECT_CLEAN_FAILURE(plan_schedule({"--pp", "0"}), 2, "take 1 to");
}

TEST(PlanScheduleCommandTest, APictureThatCannotBeWrittenIsAnError) {
  EXPECT_CLEAN_FAILURE(plan_schedule({"--svg", "/nowhere/a.svg"}), 1, "/nowhere");
}

}  // namespace
}  // namespace fathom
