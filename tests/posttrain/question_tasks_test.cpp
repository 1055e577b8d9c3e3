#include "posttrain/question_tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "posttrain/task_registry.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

class QuestionTasksTest : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = folder_.path() / name;
    std::ofstream(path) << text;
    return path;
  }
  test::TemporaryFolder folder_;
};

TEST_F(QuestionTasksTest, Gsm8kSolutionsLoseTheirCalculations) {
  write("train.jsonl",
        R"({"question": "How many?", "answer": "It is 48/2 = <<48/2=24>>24.\n\nSo $24.\n#### 1,024"})");
  write("test.jsonl", R"({"question": "And now?", "answer": "#### -5"})");
  const auto task = make_task("gsm8k:path=" + folder_.path().string());
  const Problem problem = task->problem(Split::train, 0, 0);
  EXPECT_EQ(problem.solution, "<think>\nIt is 48/2 = 24.\nSo $24.\n</think>\n\\boxed{1,024}");
  EXPECT_EQ(task->score(problem, {problem.solution}).accuracy, 1);
  EXPECT_EQ(task->score(problem, {"<think>x</think>It is $1024.00"}).accuracy, 1);
  EXPECT_EQ(task->problem(Split::test, 0, 0).reference, "-5");
}

TEST_F(QuestionTasksTest, AllOfGsm8kIsRead) {
  FATHOM_SHARED_DATA_OR_SKIP(shared);
  const auto task = make_task("gsm8k:path=" + (shared / "gsm8k").string());
  EXPECT_EQ(task->size(Split::test), 1319);
  EXPECT_EQ(task->size(Split::train), 7473);
  for (std::int64_t i = 0; i < 7473; ++i) {
    const Problem problem = task->problem(Split::train, 0, i);
    EXPECT_EQ(task->score(problem, {problem.solution}).accuracy, 1) << problem.solution;
    EXPECT_EQ(problem.solution.find("<<"), std::string::npos);
  }
}

TEST_F(QuestionTasksTest, FilesAreShuffledBySeedAndEachEpochHasEachProblemOnce) {
  std::string lines;
  for (int i = 0; i < 10; ++i)
    lines += R"({"question": "q)" + std::to_string(i) + R"(", "answer": "a"})" + "\n";
  const auto task = make_task("exact:train=" + write("t.jsonl", lines));
  std::vector<std::string> order;
  for (std::int64_t i = 0; i < 20; ++i) order.push_back(task->problem(Split::train, 5, i).question());
  EXPECT_EQ(std::set<std::string>(order.begin(), order.begin() + 10).size(), 10U);
  EXPECT_EQ(std::set<std::string>(order.begin() + 10, order.end()).size(), 10U);
  EXPECT_NE(std::vector<std::string>(order.begin(), order.begin() + 10),
            std::vector<std::string>(order.begin() + 10, order.end()));
  EXPECT_EQ(task->problem(Split::train, 0, 3).question(), "q3");
  EXPECT_EQ(task->problem(Split::train, 0, 13).question(), "q3");
  EXPECT_THAT(error_of([&] { static_cast<void>(task->problem(Split::test, 1, 0)); }),
              HasSubstr("has no problems for test: give it a file of them, as test=FILE.jsonl"));
}

TEST_F(QuestionTasksTest, TestProblemsAreLeftOutOfTraining) {
  const std::string train = write("a.jsonl", R"({"question": "One?", "answer": "1"}
{"question": "two  is  WHAT?", "answer": "2"})");
  const std::string test = write("b.jsonl", R"({"question": "Two is what?", "answer": 2})");
  const auto task = make_task("exact:train=" + train + ",test=" + test + ",compare=number");
  EXPECT_EQ(task->size(Split::train), 1);
  EXPECT_EQ(task->score(task->problem(Split::test, 0, 0), {"It is 2.0"}).accuracy, 1);
}

TEST_F(QuestionTasksTest, ExactAnswersAreComparedAsTextWithoutDecoration) {
  const std::string file =
      write("a.jsonl", R"({"question": "Capital?", "answer": "Paris", "solution": "I know it."})");
  const auto task = make_task("exact:test=" + file);
  const Problem problem = task->problem(Split::test, 0, 0);
  EXPECT_EQ(problem.solution, "<think>\nI know it.\n</think>\n\\boxed{Paris}");
  EXPECT_EQ(task->score(problem, {"The answer is **paris**."}).accuracy, 1);
  EXPECT_EQ(task->score(problem, {"Rome"}).accuracy, 0);
  EXPECT_EQ(make_task("exact:compare=case,test=" + file)->score(problem, {"paris"}).accuracy, 0);
}

TEST_F(QuestionTasksTest, ChoicesAreNamedByLetterOrText) {
  const std::vector<std::string> choices = {"a dog", "a cat", "both"};
  for (const char* b : {"B", "(B)", "b", "b)", "B) a cat", "B. a cat", "\\boxed{B}", "\\boxed{\\text{B}}",
                        "The answer is (B).", "The answer is B: a cat", "A cat", "answer: a cat",
                        "I take (B) then", "<think>A</think>B"})
    EXPECT_EQ(chosen_letter(b, choices), 'B') << b;
  for (const char* none : {"", "D", "A bird", "Both?", "The answer is A bird\n(B)", "<think>B", "Bcd"})
    EXPECT_EQ(chosen_letter(none, choices), '\0') << none;
  const auto task = make_task("choice:test=" +
                              write("c.jsonl", R"({"question": "Which?", "choices": ["x", "y"], "answer": 1}
{"question": "Which one?", "choices": ["x", "y"], "answer": "A"})"));
  const Problem problem = task->problem(Split::test, 0, 0);
  EXPECT_EQ(problem.question(), "Which?\nA) x\nB) y");
  EXPECT_EQ(task->score(problem, {"y"}).accuracy, 1);
  EXPECT_EQ(task->score(problem, {"A"}).accuracy, 0);
  EXPECT_EQ(task->problem(Split::test, 0, 1).reference, "A");
}

TEST_F(QuestionTasksTest, ErrorsNameFileAndLine) {
  EXPECT_THAT(error_of([] { make_task("gsm8k"); }), HasSubstr("needs path"));
  EXPECT_THAT(error_of([] { make_task("exact"); }), HasSubstr("give it problems"));
  EXPECT_THAT(error_of([&] { make_task("exact:test=" + folder_.path().string() + "/none.jsonl"); }),
              HasSubstr("none.jsonl"));
  for (const auto& [text, message] : std::vector<std::pair<const char*, const char*>>{
           {"", "holds no problems"},
           {"\n[1]", "bad.jsonl:2: is no JSON object"},
           {"{\"question\": \"?\"}", "bad.jsonl:1: needs a string \"answer\""},
           {"{\"question\": [], \"answer\": \"1\"}", "\"question\" is neither a string nor a number"},
           {"{", "bad.jsonl:1"}})
    EXPECT_THAT(error_of([&, text = text] { make_task("exact:test=" + write("bad.jsonl", text)); }),
                HasSubstr(message));
  for (const char* text :
       {R"({"question": "?", "choices": ["x"], "answer": 0})",
        R"({"question": "?", "choices": ["x", 2], "answer": 0})", R"({"question": "?", "answer": 0})"})
    EXPECT_THAT(error_of([&] { make_task("choice:test=" + write("bad.jsonl", text)); }),
                HasSubstr("needs a list \"choices\" of 2 to 26 strings"));
  EXPECT_THAT(error_of([&] {
                make_task("choice:test=" +
                          write("bad.jsonl", R"({"question": "?", "choices": ["x", "y"], "answer": "C"})"));
              }),
              HasSubstr("neither the letter nor the place of one of 2 choices"));
}

}  // namespace
}  // namespace fathom
