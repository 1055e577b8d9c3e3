// `fathom score` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using test::ProgramResult;
using test::run_fathom;
using testing::HasSubstr;

const std::string kScored = test::tiny_checkpoint("tiny_f32");

void expect_scores(const ProgramResult& result, const test::TinyExpectation& expected) {
  ASSERT_EQ(result.status, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("tokens"), nlohmann::json(expected.ids));
  ASSERT_EQ(json.at("logprobs").size(), expected.logprobs.size());
  for (std::size_t i = 0; i < expected.logprobs.size(); ++i) {
    if (!expected.logprobs[i]) {
      EXPECT_TRUE(json["logprobs"][i].is_null());
    } else {
      EXPECT_NEAR(json["logprobs"][i].get<double>(), *expected.logprobs[i], 1e-4) << "token " << i;
    }
  }
  EXPECT_NEAR(json.at("perplexity").get<double>(), expected.perplexity, 1e-4 * expected.perplexity);
}

TEST(ScoreCommandTest, ScoresAreThoseOfTransformersHoweverTheTextIsGiven) {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "text.txt";
  for (const char* name : {"tiny_f32", "tiny_bf16", "tiny_fp8"}) {
    const std::string model = test::tiny_checkpoint(name);
    const test::TinyExpectation expected = test::tiny_expectations(name).at(1);
    std::ofstream(file) << expected.prompt;
    expect_scores(run_fathom({"score", model, "--text", expected.prompt, "--json"}), expected);
    expect_scores(run_fathom({"score", model, "--file", file, "--json"}), expected);
    expect_scores(run_fathom({"score", model, "--tokens", nlohmann::json(expected.ids).dump(), "--json"}),
                  expected);
  }
}

TEST(ScoreCommandTest, TheEnvironmentLimitsTheInstructionSet) {
  const test::TinyExpectation expected = test::tiny_expectations("tiny_fp8").front();
  const std::string tokens = nlohmann::json(expected.ids).dump();
  ::setenv("FATHOM_SIMD", "baseline", 1);
  expect_scores(run_fathom({"score", test::tiny_checkpoint("tiny_fp8"), "--tokens", tokens, "--json"}),
                expected);
  ::setenv("FATHOM_SIMD", "sse9", 1);
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--tokens", "7"}), 1, "no instruction set \"sse9\"");
  ::unsetenv("FATHOM_SIMD");
}

TEST(ScoreCommandTest, OneTokenHasALogprobOfNullAndNoPerplexity) {
  const ProgramResult result = run_fathom({"score", kScored, "--tokens", "7", "--json"});
  EXPECT_EQ(result.out, "{\"tokens\":[7],\"logprobs\":[null],\"perplexity\":null}\n") << result.err;
}

TEST(ScoreCommandTest, TableShowsTextAndPerplexity) {
  const ProgramResult result = run_fathom({"score", kScored, "--text", "The fox"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("perplexity"));
  EXPECT_THAT(result.out, HasSubstr("\""));
}

TEST(ScoreCommandTest, ImpossibleTextsAreRefused) {
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--text", ""}), 1, "empty");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--tokens", ""}), 1, "no tokens");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--tokens", "1,340,2"}), 1, "token id 340");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--tokens", "-5,3"}), 1, "token id -5");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--text", std::string(4000, 'x')}), 1,
                       "context holds 128");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--file", "/nonexistent/text"}), 1, "/nonexistent/text");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--text", "The", "--json"}, {}, "/dev/full"), 1,
                       "cannot write the scores");
}

TEST(ScoreCommandTest, WrongUseEndsWithStatusTwo) {
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored}), 2, "--tokens");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--text", "a", "--tokens", "1"}), 2, "one of");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--tokens", "1,x"}), 2, "--tokens");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kScored, "--tokens", "99999999999"}), 2, "--tokens");
}

}  // namespace
}  // namespace fathom
