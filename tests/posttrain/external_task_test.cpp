#include "posttrain/external_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "posttrain/task_registry.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

class ExternalTaskTest : public testing::Test {
 protected:
  /// A task that a shell script judges.
  std::unique_ptr<Task> judged_by(const std::string& script, const std::string& options = {}) {
    const std::string program = folder_.path() / "judge";
    std::ofstream(program) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    std::ofstream(folder_.path() / "p.jsonl") << R"({"question": "Name a colour.", "answer": "red"})"
                                              << "\n";
    return make_task("external:test=" + (folder_.path() / "p.jsonl").string() + ",command=" + program + " " +
                     folder_.path().string() + options);
  }
  static Reward score(const Task& task, const std::string& answer) {
    return task.score(task.problem(Split::test, 0, 0), {answer});
  }
  test::TemporaryFolder folder_;
};

TEST_F(ExternalTaskTest, AProgramThatStaysJudgesAllAnswers) {
  const auto task = judged_by(R"(echo started >> "$1/log"
while read -r line; do printf "%s\\n" "$line" >> "$1/log"; case "$line" in *blue*) echo 0.25;; *) echo '{"score": 1, "extracted": "c", "explanation": "fine"}';; esac; done)");
  EXPECT_EQ(score(*task, "blue\nor not").accuracy, 0.25);
  const Reward other = score(*task, "\"red\"");
  EXPECT_EQ(other.accuracy, 1);
  EXPECT_EQ(other.extracted, "c");
  EXPECT_EQ(other.explanation, "fine");
  std::ifstream log(folder_.path() / "log");
  std::string line;
  std::getline(log, line);
  EXPECT_EQ(line, "started");
  std::getline(log, line);
  EXPECT_EQ(line, R"({"answer":"blue\nor not","prompt":"Name a colour.","reference":"red"})");
  std::getline(log, line);
  EXPECT_THAT(line, HasSubstr("\\\"red\\\""));
}

TEST_F(ExternalTaskTest, AProgramThatEndsIsStartedAnewOnce) {
  const auto task = judged_by(R"(read -r line; if [ -e "$1/once" ]; then echo 1; else touch "$1/once"; fi)");
  EXPECT_EQ(score(*task, "a").accuracy, 1);
  const auto never = judged_by("exit 1");
  EXPECT_THAT(error_of([&] { static_cast<void>(score(*never, "a")); }), HasSubstr("judge: ended"));
}

TEST_F(ExternalTaskTest, HostileAnswersAreErrors) {
  for (const auto& [script, message] : std::vector<std::pair<const char*, const char*>>{
           {"while read -r l; do echo good; done", "an answer of task"},
           {"while read -r l; do echo; done", "an answer of task"},
           {"while read -r l; do echo '{\"score\": \"1\"}'; done", "neither a number nor an object"},
           {"while read -r l; do echo 2; done", "the score 2 is not from 0 to 1"},
           {"while read -r l; do echo 1e999; done", "answer of task"},
           {"while read -r l; do printf '1\\n1\\n'; done", "answered one line with several"},
           {"while read -r l; do yes | tr -d '\\n'; done", "answered with more than 1048576 bytes"}})
    EXPECT_THAT(error_of([&, script = script] { static_cast<void>(score(*judged_by(script), "a")); }),
                HasSubstr(message))
        << script;
  EXPECT_THAT(error_of([&] { static_cast<void>(score(*judged_by("sleep 60", ",seconds=1"), "a")); }),
              HasSubstr("did not answer within 1 s"));
}

TEST_F(ExternalTaskTest, LongAnswersReachProgramsThatReadSlowly) {
  const auto task = judged_by("while read -r l; do sleep 0.1; echo ${#l}e-9; done");
  EXPECT_NEAR(score(*task, std::string(3'000'000, 'x')).accuracy, 3e-3, 1e-6);
}

TEST_F(ExternalTaskTest, WhatIsMissingIsSaid) {
  EXPECT_THAT(error_of([&] { make_task("external:test=x"); }), HasSubstr("x"));
  std::ofstream(folder_.path() / "p.jsonl") << R"({"question": "?"})"
                                            << "\n";
  EXPECT_THAT(error_of([&] { make_task("external:test=" + (folder_.path() / "p.jsonl").string()); }),
              HasSubstr("task external: needs command"));
  EXPECT_THAT(
      error_of([&] {
        make_task("external:test=" + (folder_.path() / "p.jsonl").string() + ",command=no-such-program");
      }),
      HasSubstr("there is no program \"no-such-program\""));
}

}  // namespace
}  // namespace fathom
