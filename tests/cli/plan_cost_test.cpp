// `fathom plan cost`, `search` and `cache` through the real binary.

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

test::ProgramResult plan(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "plan");
  return test::run_fathom(arguments);
}

TEST(PlanCostCommandTest, ReproducesTheReportsHours) {
  const auto result = plan({"cost", "--config", "deepseek-v3", "--hardware", "h800", "--gpus", "2048",
                            "--layout", "pp=16,ep=64", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json json = parse_json(result.out, "plan cost --json");
  EXPECT_NEAR(json["training"]["device_hours"].get<double>(), 2.664e6, 0.005 * 2.664e6);
}

TEST(PlanCostCommandTest, TheReleasedConfigIsTheBuiltInOne) {
  FATHOM_SHARED_DATA_OR_SKIP(shared);
  const auto of = [](const std::string& config) {
    const auto result = plan({"cost", "--config", config, "--layout", "pp=16,ep=64", "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    return parse_json(result.out, "plan cost --json")["training"];
  };
  EXPECT_EQ(of(shared / "configs" / "DeepSeek-V3.json"), of("deepseek-v3"));
}

TEST(PlanCostCommandTest, FindsALayoutAndWritesThePage) {
  const test::TemporaryFolder folder;
  const std::string page = folder.path() / "cost.html";
  const auto result = plan({"cost", "--config", "moonlight-16b-a3b", "--hardware", "a100", "--gpus", "64",
                            "--batch", "2048", "--tokens", "5.7e12", "--html", page});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("A100"), HasSubstr("it fits"), HasSubstr("5.7 T")));
  EXPECT_THAT(read_text_file(page, 1U << 26U), HasSubstr("<svg"));
}

TEST(PlanCostCommandTest, PublishedHoursGiveAnEfficiency) {
  const auto result = plan({"cost", "--layout", "pp=16,ep=64", "--calibrate-hours", "200e3", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json json = parse_json(result.out, "plan cost --json");
  EXPECT_NEAR(json["training"]["device_hours_per_trillion_tokens"].get<double>(), 200e3, 1);
}

TEST(PlanCostCommandTest, FailuresAreOneLine) {
  EXPECT_CLEAN_FAILURE(plan({"cost", "--hardware", "h900"}), 1, "built in: a100");
  EXPECT_CLEAN_FAILURE(plan({"cost", "--config", "gpt-5"}), 1, "deepseek-v3");
  EXPECT_CLEAN_FAILURE(plan({"cost", "--layout", "sp=8"}), 1, "no such key");
  EXPECT_CLEAN_FAILURE(plan({"cost", "--gpus", "8"}), 1, "take more devices");
  EXPECT_CLEAN_FAILURE(plan({"cost", "--hardware", "a100", "--precision", "fp8"}), 1, "no FP8");
  EXPECT_CLEAN_FAILURE(plan({"cost", "--gpus", "0"}), 2, "--gpus");
  EXPECT_CLEAN_FAILURE(plan({"cost", "--precision", "int4"}), 2, "int4");
}

TEST(PlanSearchCommandTest, ListsTheFastestLayouts) {
  const auto result = plan({"search", "--config", "deepseek-v2-lite", "--gpus", "32", "--batch", "512"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("micro-batch"), HasSubstr("were simulated")));
}

TEST(PlanCacheCommandTest, PrintsThePublishedBytes) {
  const auto result = plan({"cache"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("70.272"), HasSubstr("327.680"), HasSubstr("516.096")));
  EXPECT_CLEAN_FAILURE(plan({"cache", "h800"}), 1, "models");
}

}  // namespace
}  // namespace fathom
