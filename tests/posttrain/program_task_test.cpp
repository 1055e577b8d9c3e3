#include "posttrain/program_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "posttrain/sandbox.h"
#include "posttrain/task_registry.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

class ProgramTaskTest : public testing::Test {
 protected:
  void SetUp() override {
    std::error_code error;
    if (!std::filesystem::exists("/usr/bin/python3", error))
      GTEST_SKIP() << "no /usr/bin/python3 on this machine";
    const std::string refused = error_of([] { static_cast<void>(Sandbox({}).run({"/bin/true"}, "", {})); });
    if (refused != "no error") GTEST_SKIP() << refused;
  }
  std::unique_ptr<Task> task_of(const std::string& line, const std::string& options = {}) {
    const std::string file = folder_.path() / "problems.jsonl";
    std::ofstream(file) << line << "\n";
    return make_task("program:test=" + file + options);
  }
  test::TemporaryFolder folder_;
};

constexpr const char* kDouble =
    R"json({"question": "Double a number.", "tests": [{"input": "2\n", "output": "4\n"}, {"input": "5", "output": "10"}],)json"
    R"json( "solution": "print(2 * int(input()))"})json";
constexpr const char* kFunction = R"({"question": "Write double.", "tests": "assert double(4) == 8"})";

TEST_F(ProgramTaskTest, ProgramsAreJudgedByWhatTheyWrite) {
  const auto task = task_of(kDouble);
  const Problem problem = task->problem(Split::test, 0, 0);
  EXPECT_EQ(task->score(problem, {problem.solution}).accuracy, 1);
  EXPECT_EQ(task->score(problem, {"<think>hm</think>Here:\n```python\nprint(int(input()) + int('2'))\n```"})
                .explanation,
            "test 2 of 2: wrote \"7\\x0a\"");
  EXPECT_THAT(task->score(problem, {"print(x)"}).explanation, HasSubstr("NameError"));
  EXPECT_EQ(task->score(problem, {"<think>print(2 * int(input()))"}).explanation,
            "no program is given as the answer");
}

TEST_F(ProgramTaskTest, TestsBehindAProgramMustBeReached) {
  const auto task = task_of(kFunction);
  const Problem problem = task->problem(Split::test, 0, 0);
  EXPECT_EQ(task->score(problem, {"```\ndef double(x):\n  return 2 * x\n```\nDone."}).accuracy, 1);
  EXPECT_THAT(task->score(problem, {"def double(x): return x"}).explanation, HasSubstr("AssertionError"));
  EXPECT_EQ(task->score(problem, {"import sys\nsys.exit(0)"}).explanation,
            "ended before its tests were done");
  EXPECT_EQ(task->score(problem, {"import os\nos._exit(0)"}).accuracy, 0);
  EXPECT_EQ(task->score(problem, {"double = lambda x: 2 * x\nassert not double.__doc__"}).accuracy, 1);
}

TEST_F(ProgramTaskTest, EndlessProgramsFail) {
  const auto task = task_of(kDouble, ",wall-seconds=1");
  EXPECT_EQ(task->score(task->problem(Split::test, 0, 0), {"import time\ntime.sleep(60)"}).explanation,
            "test 1 of 2: ran longer than 1 s: ");
}

TEST_F(ProgramTaskTest, OtherLanguagesAreExecutables) {
  const auto task =
      task_of(R"({"question": "Say hi.", "tests": [{"input": "", "output": "hi"}]})", ",command=sh");
  EXPECT_EQ(task->score(task->problem(Split::test, 0, 0), {"```sh\necho hi\n```"}).accuracy, 1);
  EXPECT_THAT(error_of([&] { task_of(kDouble, ",command=no-such-program"); }),
              HasSubstr("there is no program"));
}

TEST_F(ProgramTaskTest, TheLastBlockIsTheProgram) {
  EXPECT_EQ(extract_program("```python\na\n```\nor\n```\nb\nc\n```\n"), "b\nc\n");
  EXPECT_EQ(extract_program("```\na"), "a");
  EXPECT_EQ(extract_program("a"), "a");
  EXPECT_EQ(extract_program("```"), "");
  EXPECT_EQ(extract_program("```\n\n```"), "");
}

TEST_F(ProgramTaskTest, ErrorsNameTheLine) {
  EXPECT_THAT(error_of([&] { task_of(R"({"question": "?"})"); }),
              HasSubstr("problems.jsonl:1: needs \"tests\""));
  EXPECT_THAT(error_of([&] { task_of(R"({"question": "?", "tests": [{"input": "1"}]})"); }),
              HasSubstr("has no strings \"input\" and \"output\""));
}

}  // namespace
}  // namespace fathom
