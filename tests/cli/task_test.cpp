// `fathom task` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "support/program.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::ProgramResult;
using test::run_fathom;
using testing::HasSubstr;

class TaskCommandTest : public testing::Test {
 protected:
  [[nodiscard]] std::string file(const std::string& name) const { return folder_.path() / name; }
  test::TemporaryFolder folder_;
};

TEST_F(TaskCommandTest, WritesChatsWhoseSolutionsItScoresAsRight) {
  const ProgramResult made =
      run_fathom({"task", "words", "--count", "20", "--split", "test", "-o", file("p.jsonl")});
  ASSERT_EQ(made.status, 0) << made.err;
  std::ifstream lines(file("p.jsonl"));
  std::string line;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(std::getline(lines, line));
    const auto chat = nlohmann::json::parse(line);
    EXPECT_EQ(chat.at("messages").back().at("role"), "assistant");
    EXPECT_EQ(chat.at("index"), i);
    EXPECT_EQ(chat.at("split"), "test");
  }
  const ProgramResult scored = run_fathom({"task", "words", "--score", file("p.jsonl")});
  ASSERT_EQ(scored.status, 0) << scored.err;
  EXPECT_THAT(scored.err, HasSubstr("20 answers: accuracy 1.0000, format 1.0000"));
}

TEST_F(TaskCommandTest, AnswersAreScoredLineByLine) {
  std::ofstream(file("a.jsonl"))
      << R"({"messages": [{"role": "user", "content": "Compute 2 + 2."}], "answer": "4",)"
      << R"( "response": "<think>well</think>The answer is 5."})"
      << "\n";
  const ProgramResult scored = run_fathom({"task", "arithmetic", "--score", file("a.jsonl")});
  ASSERT_EQ(scored.status, 0) << scored.err;
  const auto score = nlohmann::json::parse(scored.out);
  EXPECT_EQ(score.at("accuracy"), 0.0);
  EXPECT_EQ(score.at("format"), 1.0);
  EXPECT_EQ(score.at("extracted"), "5");
}

TEST_F(TaskCommandTest, ListsAllTasksWithTheirOptions) {
  const ProgramResult list = run_fathom({"task", "--list"});
  ASSERT_EQ(list.status, 0) << list.err;
  EXPECT_THAT(list.out, HasSubstr("countdown: reach a number with given ones\n"));
  EXPECT_THAT(list.out, HasSubstr("operators"));
  EXPECT_THAT(list.out, HasSubstr("length-limit"));
}

TEST_F(TaskCommandTest, WrongUseIsSaid) {
  EXPECT_CLEAN_FAILURE(run_fathom({"task"}), 2, "name one");
  EXPECT_CLEAN_FAILURE(run_fathom({"task", "word"}), 2, "did you mean words?");
  EXPECT_CLEAN_FAILURE(run_fathom({"task", "words", "--split", "dev"}), 2, "there is no split \"dev\"");
  EXPECT_CLEAN_FAILURE(run_fathom({"task", "words", "--score", file("none")}), 1, "none");
  EXPECT_CLEAN_FAILURE(run_fathom({"task", "words", "--output", "/dev/null/x"}), 1, "/dev/null/x");
  std::ofstream(file("bad.jsonl")) << "\n{\n";
  EXPECT_CLEAN_FAILURE(run_fathom({"task", "words", "--score", file("bad.jsonl")}), 1, "bad.jsonl:2");
  std::ofstream(file("empty.jsonl")) << "\n";
  EXPECT_CLEAN_FAILURE(run_fathom({"task", "words", "--score", file("empty.jsonl")}), 1, "holds no answers");
}

}  // namespace
}  // namespace fathom
