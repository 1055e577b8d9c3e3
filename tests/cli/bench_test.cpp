#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

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
  const Json report = parse_json(result.out, "bench --json")["measurements"];
  ASSERT_EQ(report.size(), 2U);
  EXPECT_EQ(report[0]["tokens"], 4);
  EXPECT_EQ(report[1]["sequences"], 2);
  EXPECT_EQ(report[1]["depth"], 8);
  for (const Json& measured : report)
    for (const char* key : {"tokens_per_second", "limit_tokens_per_second", "weight_bytes",
                            "weight_operations", "memory_bytes_per_second", "integer_operations_per_second"})
      EXPECT_GT(measured[key], 0) << key;
}

TEST(BenchTest, MeasuresAnswersWithDraftsBesideThoseWithout) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  std::ofstream(folder.path() / "text.txt")
      << "the old river runs down to the sea and the sea runs up to the "
         "old river, the old river runs down to the sea";
  const test::ProgramResult table = test::run_fathom(
      {"bench", model, "--speculate", "ngram", "--text", folder.path() / "text.txt", "--prompt", "8",
       "--prompts", "2", "--answer", "12", "--batch", "2", "--rounds", "1", "--threads", "1"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_THAT(table.out,
              AllOf(HasSubstr("drafts by ngram"), HasSubstr("alone"), HasSubstr("served, 2 at once"),
                    HasSubstr("worst at text.txt"), Not(HasSubstr("ANSWERS DIFFER"))));
}

TEST(BenchTest, TellsWhatDraftsCouldGainAtMost) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  test::set_config_key(model, "num_nextn_predict_layers", "1");
  const test::ProgramResult result = test::run_fathom({"bench",          model / "config.json",
                                                       "--synthetic",    "bf16",
                                                       "--speculate",    "mtp",
                                                       "--draft-tokens", "2",
                                                       "--prompt",       "8",
                                                       "--prompts",      "2",
                                                       "--answer",       "12",
                                                       "--batch",        "1,2",
                                                       "--rounds",       "2",
                                                       "--threads",      "1",
                                                       "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json report = parse_json(result.out, "bench --json")["speculation"];
  EXPECT_EQ(report["drafter"], "mtp");
  EXPECT_EQ(report["has_made_up_weights"], true);
  ASSERT_EQ(report["cases"].size(), 3U) << "alone, and served one and two at once";
  EXPECT_EQ(report["cases"][0]["answered_by"], "run");
  EXPECT_EQ(report["cases"][2]["at_once"], 2);
  EXPECT_EQ(report["cases"][2]["turns"].size(), 1U);
  for (const Json& measured : report["cases"]) {
    for (const char* key :
         {"tokens_per_second_without", "tokens_per_second_with", "speedup", "worst_speedup"})
      EXPECT_GT(measured[key], 0) << key;
    EXPECT_GE(measured["bound_speedup"], 1.0);
    EXPECT_EQ(measured["step_experts_touched"].size(), 3U);
    EXPECT_EQ(measured["step_weight_bytes"].size(), 3U);
    for (const Json& turn : measured["turns"]) {
      EXPECT_EQ(turn["answers_are_the_same"], true);
      EXPECT_EQ(turn["rounds_with"].size(), 2U);
    }
  }
}

TEST(BenchTest, FailuresOfSpeculationAreOneLine) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  const auto fails = [&](std::vector<std::string> arguments, int status, const std::string& message) {
    std::vector<std::string> all = {"bench", model, "--prompt", "8", "--prompts", "2", "--rounds", "1"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    EXPECT_CLEAN_FAILURE(test::run_fathom(all), status, message);
  };
  fails({"--speculate", "off"}, 2, "name who drafts");
  fails({"--speculate", "mtp"}, 1, "has no MTP module");
  fails({"--speculate", "ngram", "--batch", "4", "--answer", "4"}, 2, "give --prompts 4");
  fails({"--speculate", "ngram", "--picture", "out.svg"}, 2, "--picture");
  fails({"--speculate", "ngram", "--text", folder.path() / "none"}, 1, "none");
  std::ofstream(folder.path() / "short.txt") << "sea";
  fails({"--speculate", "ngram", "--text", folder.path() / "short.txt"}, 1, "give a longer text");
}

TEST(BenchTest, PlansForADescribedMachineWithoutWeights) {
  const std::string config = test::source_folder() / "configs" / "models" / "deepseek-v3.json";
  const std::string machine = "pack:2 [numa(memory=384GB)] core:32 pu:2";
  const test::ProgramResult table =
      test::run_fathom({"bench", config, "--synthetic", "Q4_K", "--topology", machine});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_THAT(table.out,
              AllOf(HasSubstr("numa distribute: 2 node(s), 64 threads"), HasSubstr("not measured")));
  const test::ProgramResult result =
      test::run_fathom({"bench", config, "--synthetic", "Q4_K", "--topology", machine, "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json plan = parse_json(result.out, "bench --json")["numa"];
  EXPECT_NEAR(plan["nodes"][0]["bytes"].get<double>(), 671.0e9 * 4.5 / 8 / 2, 5e9);
  EXPECT_NEAR(plan["nodes"][1]["step_share"].get<double>(), 0.5, 0.001);
  EXPECT_NEAR(plan["most_experts_on_a_node"].get<double>(), 5.077, 0.001);
  EXPECT_CLEAN_FAILURE(
      test::run_fathom({"bench", config, "--synthetic", "Q8_0", "--topology", machine, "--numa", "mirror"}),
      1, "bytes are missing");
  EXPECT_CLEAN_FAILURE(
      test::run_fathom({"bench", config, "--synthetic", "Q8_0", "--topology", machine, "--numa", "node:2"}),
      2, "there are 0, 1");
  EXPECT_CLEAN_FAILURE(
      test::run_fathom({"bench", config, "--synthetic", "Q8_0", "--topology", "two sockets"}), 2,
      "no machine is described");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"bench", config, "--numa", "isolate"}), 2, "--numa");
}

TEST(BenchTest, PrintsThePlanThatItMeasures) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  std::vector<std::string> command = {"bench",   model, "--prompt", "4", "--depth", "0",
                                      "--batch", "1",   "--rounds", "1", "--numa",  "distribute"};
  const test::ProgramResult table = test::run_fathom(command);
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_THAT(table.out, AllOf(HasSubstr("numa distribute"), HasSubstr("prefill 4")));
  command.emplace_back("--json");
  const test::ProgramResult result = test::run_fathom(command);
  ASSERT_EQ(result.status, 0) << result.err;
  const Json report = parse_json(result.out, "bench --json");
  EXPECT_EQ(report["numa"]["policy"], "distribute");
  EXPECT_EQ(report["measurements"].size(), 2U);
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
