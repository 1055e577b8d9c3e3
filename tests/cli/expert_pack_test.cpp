// Models whose experts are read from disk, from the command line.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
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

class ExpertPackTest : public testing::Test {
 protected:
  /// Converts a checkpoint to a whole file and to a packed one.
  ExpertPackTest() {
    run({"convert", test::tiny_checkpoint("tiny_f32"), whole(), "--type", "q8_0"});
    run({"convert", whole(), packed(), "--expert-pack"});
  }
  [[nodiscard]] std::string whole() const { return folder_.path() / "whole.gguf"; }
  [[nodiscard]] std::string packed() const { return folder_.path() / "packed.gguf"; }

  static test::ProgramResult run(const std::vector<std::string>& arguments) {
    test::ProgramResult result = test::run_fathom(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  }
  static Json score(const std::string& model, std::vector<std::string> options) {
    std::vector<std::string> arguments = {"score", model, "--text", "It was the best of times", "--json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return parse_json(run(arguments).out, "score --json");
  }

  test::TemporaryFolder folder_;
};

TEST_F(ExpertPackTest, EveryBudgetGivesTheSameAnswer) {
  ASSERT_TRUE(std::filesystem::exists(folder_.path() / "packed.experts"));
  const Json expected = score(whole(), {});
  EXPECT_FALSE(expected.contains("experts"));
  for (const std::string memory : {"4K", "12K", "1G"}) {
    const Json got = score(packed(), {"--expert-memory", memory});
    EXPECT_EQ(got["logprobs"], expected["logprobs"]) << memory;
    const Json& experts = got["experts"];
    EXPECT_GT(experts["misses"].get<int>(), 0);
    EXPECT_GT(experts["bytes_read"].get<int>(), 0);
    EXPECT_LE(experts["resident_bytes"].get<std::int64_t>(), experts["budget_bytes"].get<std::int64_t>());
  }
  const Json mapped = score(packed(), {"--expert-memory", "mapped"});
  EXPECT_EQ(mapped["logprobs"], expected["logprobs"]);
  EXPECT_FALSE(mapped.contains("experts"));
  EXPECT_EQ(score(packed(), {})["logprobs"], expected["logprobs"]);
}

TEST_F(ExpertPackTest, RunSaysWhatReadingExpertsDid) {
  const test::ProgramResult result =
      run({"run", packed(), "The quick", "-n", "8", "--temperature", "0", "--expert-memory", "12K"});
  EXPECT_THAT(result.err, AllOf(HasSubstr("experts: 12.0 KiB of "), HasSubstr("% in memory, "),
                                HasSubstr("of guesses right"), HasSubstr("; read ")));
  EXPECT_EQ(result.out, run({"run", whole(), "The quick", "-n", "8", "--temperature", "0"}).out);
  const Json json = parse_json(
      run({"run", packed(), "The quick", "-n", "8", "--json", "--expert-memory", "12K"}).out, "run --json");
  EXPECT_GT(json["experts"]["hit_rate"].get<double>(), 0.0);
  const std::vector<std::string> bench = {"bench",  packed(),          "--prompt", "4",        "--depth",
                                          "0",      "--batch",         "1",        "--rounds", "1",
                                          "--json", "--expert-memory", "12K"};
  const Json measured = parse_json(run(bench).out, "bench --json");
  EXPECT_GT(measured["experts"]["read_bytes_per_second"].get<double>(), 0.0);
  EXPECT_GT(measured["experts"]["hit_rate"].get<double>(), 0.0);
  EXPECT_EQ(measured["measurements"].size(), 2U);
}

TEST_F(ExpertPackTest, UnpacksAgain) {
  run({"convert", packed(), folder_.path() / "again.gguf", "--type", "q8_0"});
  EXPECT_EQ(score(folder_.path() / "again.gguf", {})["logprobs"], score(whole(), {})["logprobs"]);
}

TEST_F(ExpertPackTest, MistakesAreNamed) {
  const std::string text = "x";
  EXPECT_CLEAN_FAILURE(test::run_fathom({"convert", whole(), folder_.path() / "folder", "--expert-pack"}), 2,
                       "has to end in .gguf");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"convert", whole(), packed(), "--expert-pack"}), 1,
                       "exists; remove it");
  std::filesystem::remove(packed());
  EXPECT_CLEAN_FAILURE(test::run_fathom({"convert", whole(), packed(), "--expert-pack"}), 1,
                       "packed.experts: exists; remove it");
  run({"convert", whole(), packed(), "--expert-pack", "--overwrite"});
  EXPECT_CLEAN_FAILURE(test::run_fathom({"score", packed(), "--text", text, "--expert-memory", "1"}), 1,
                       "is too little");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"score", whole(), "--text", text, "--expert-memory", "1G"}), 2,
                       "--expert-memory is for models whose experts are packed");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"quantize", packed(), folder_.path() / "q.gguf", "--type", "Q4_0"}),
                       1, "quantise the model first");
}

}  // namespace
}  // namespace fathom
