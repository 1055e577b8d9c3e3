// `fathom eval` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "posttrain/eval_record.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using test::ProgramResult;
using test::run_fathom;
using testing::HasSubstr;

class EvalCommandTest : public testing::Test {
 protected:
  [[nodiscard]] std::vector<std::string> eval(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"eval",     model_, "--task",       task_, "--output",  file_,
                                          "--format", "none", "--max-tokens", "16",  "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  test::TemporaryFolder folder_;
  std::string model_ = test::tiny_checkpoint("tiny_f32");
  std::string task_ = "arithmetic:depth=1,digits=1";
  std::string file_ = folder_.path() / "samples.jsonl";
};

TEST_F(EvalCommandTest, PrintsFiguresAndKeepsAnswers) {
  const ProgramResult result = run_fathom(eval({"--count", "4", "--samples", "4", "--json"}));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto figures = nlohmann::json::parse(result.out);
  ASSERT_EQ(figures.size(), 1U);
  EXPECT_EQ(figures.at(0).at("task"), task_);
  EXPECT_EQ(figures.at(0).at("greedy").at("problems"), 4);
  for (const char* figure : {"pass@1", "pass@2", "pass@4", "maj@1", "maj@2", "maj@4"})
    EXPECT_TRUE(figures.at(0).at("sampled").contains(figure)) << figure;
  EXPECT_THAT(result.err, HasSubstr("eval: 20 answers in"));
  EXPECT_EQ(read_eval_record(file_).samples.size(), 20U);

  const ProgramResult again = run_fathom(eval({"--count", "4", "--samples", "4", "--json"}));
  EXPECT_EQ(again.out, result.out);
  EXPECT_THAT(again.err, HasSubstr("20 of them were there"));
  const ProgramResult table = run_fathom(eval({"--count", "2"}));
  EXPECT_THAT(table.out, HasSubstr("greedy")) << table.err;
  EXPECT_EQ(read_eval_record(file_).samples.size(), 20U) << "fewer problems were asked before";
}

TEST_F(EvalCommandTest, AnInterruptedEvaluationSaysHowToGoOn) {
  const ProgramResult result =
      test::run_fathom_and_interrupt(eval({"--count", "100000", "--samples", "2"}), test::Stream::err,
                                     {SIGINT}, std::chrono::milliseconds(300));
  EXPECT_EQ(result.status, 130) << result.err;
  EXPECT_THAT(result.err, HasSubstr("ended early: the same command goes on"));
}

TEST_F(EvalCommandTest, ComparesFilesOfAnswersOnAPage) {
  ASSERT_EQ(run_fathom(eval({"--count", "3"})).status, 0);
  const std::string page = folder_.path() / "page.html";
  const ProgramResult result = run_fathom({"eval", "--compare", "first=" + file_, file_, "--output", page});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(read_text_file(page, 1U << 24U), HasSubstr("samples against first"));
  EXPECT_CLEAN_FAILURE(run_fathom({"eval", "--compare", page, "--output", page}), 1, "page.html:1");
  EXPECT_CLEAN_FAILURE(run_fathom({"eval", model_, "--compare", file_, "--output", page}), 2,
                       "neither a model");
  EXPECT_CLEAN_FAILURE(run_fathom({"eval", "--output", page}), 2, "name a model and a task");
}

TEST_F(EvalCommandTest, WrongUseIsSaid) {
  EXPECT_CLEAN_FAILURE(run_fathom(eval({})), 2, "has no end: say how many problems");
  EXPECT_CLEAN_FAILURE(run_fathom(eval({"--count", "2", "--no-greedy"})), 2, "--samples");
  EXPECT_CLEAN_FAILURE(run_fathom(eval({"--count", "2", "--task", task_})), 2, "is named twice");
  EXPECT_CLEAN_FAILURE(run_fathom(eval({"--count", "2", "--task", "word"})), 2, "did you mean words?");
  EXPECT_CLEAN_FAILURE(run_fathom(eval({"--count", "2", "--split", "dev"})), 2, "there is no split");
  EXPECT_CLEAN_FAILURE(
      run_fathom({"eval", folder_.path() / "none", "--task", task_, "--count", "1", "-o", file_}), 1, "none");
  ASSERT_EQ(run_fathom(eval({"--count", "1"})).status, 0);
  EXPECT_CLEAN_FAILURE(run_fathom(eval({"--count", "1", "--seed", "5"})), 1,
                       "holds samples with seed 0, not 5");
  EXPECT_CLEAN_FAILURE(
      run_fathom({"eval", model_, "--task", task_, "--count", "1", "-o", file_, "--format", "chatml"}), 2,
      "plain, deepseek or none");
}

}  // namespace
}  // namespace fathom
