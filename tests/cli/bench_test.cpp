#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "support/program.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(BenchTest, MeasuresAModelBesideTheMachinesLimits) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  const test::ProgramResult table = test::run_fathom({"bench", model, "--prompt", "4", "--depth", "0,8",
                                                      "--batch", "1,2", "--rounds", "1", "--threads", "1"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_THAT(table.out, AllOf(HasSubstr("prefill 4"), HasSubstr("decode, batch 2"), HasSubstr("share")));
}

TEST(BenchTest, TellsAllPartsOfAMeasurement) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  const test::ProgramResult result =
      test::run_fathom({"bench", model / "config.json", "--synthetic", "bf16", "--prompt", "4", "--depth",
                        "8", "--batch", "2", "--rounds", "1", "--threads", "1", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json report = parse_json(result.out, "bench --json");
  ASSERT_EQ(report.size(), 2U);
  EXPECT_EQ(report[0]["tokens"], 4);
  EXPECT_EQ(report[1]["sequences"], 2);
  EXPECT_EQ(report[1]["depth"], 8);
  for (const Json& measured : report)
    for (const char* key : {"tokens_per_second", "limit_tokens_per_second", "weight_bytes",
                            "weight_operations", "memory_bytes_per_second", "integer_operations_per_second"})
      EXPECT_GT(measured[key], 0) << key;
}

TEST(BenchTest, FailuresAreOneLine) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  EXPECT_CLEAN_FAILURE(test::run_fathom({"bench", model, "--synthetic", "q9"}), 2, "there is no such type");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"bench", model, "--synthetic", "i32"}), 1,
                       "no weights of I32 are made up");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"bench", model, "--prompt", "1"}), 2, "--prompt");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"bench", folder.path() / "none"}), 1, "none");
}

}  // namespace
}  // namespace fathom
