// The built-in tasks: what all of them promise.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>

#include "posttrain/task_registry.h"
#include "support/error_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

constexpr const char* kGeneratedTasks[] = {"arithmetic",
                                           "arithmetic:digits=6,depth=5,operators=+-*/",
                                           "arithmetic:digits=1,depth=1,operators=/",
                                           "words",
                                           "words:kind=factory,min-steps=6",
                                           "words:kind=collection,largest=9999,distractors=6",
                                           "words:largest=9,distractors=0",
                                           "countdown",
                                           "countdown:numbers=2,largest=5,target=10",
                                           "countdown:numbers=6,largest=100,target=1000",
                                           "sorting",
                                           "sorting:items=numbers,min-length=50,max-length=50,largest=50",
                                           "strings",
                                           "strings:steps=20"};

TEST(GeneratedTaskTest, WorkedSolutionsAreRightAndWellFormed) {
  for (const char* spec : kGeneratedTasks) {
    const auto task = make_task(spec);
    for (const Split split : {Split::train, Split::test})
      for (std::int64_t i = 0; i < 200; ++i) {
        const Problem problem = task->problem(split, 7, i);
        const Reward reward = task->score(problem, {problem.solution});
        EXPECT_EQ(reward.accuracy, 1) << spec << "\n" << problem.question() << "\n" << problem.solution;
        EXPECT_EQ(reward.format, 1) << problem.solution;
        EXPECT_EQ(reward.language, 1);
        EXPECT_EQ(task->score(problem, {problem.reference}).accuracy, 1) << problem.reference;
        EXPECT_EQ(task->score(problem, {"<think>hm</think>I do not know."}).accuracy, 0);
        EXPECT_EQ(task->score(problem, {""}).accuracy, 0);
      }
  }
}

TEST(GeneratedTaskTest, AProblemIsAFunctionOfSplitSeedAndIndexAlone) {
  for (const char* spec : kGeneratedTasks) {
    const auto task = make_task(spec);
    const Problem once = task->problem(Split::train, 3, 12);
    static_cast<void>(task->problem(Split::test, 1, 5));
    const Problem again = make_task(spec)->problem(Split::train, 3, 12);
    EXPECT_EQ(once.turns, again.turns);
    EXPECT_EQ(once.solution, again.solution);
  }
  // On any machine.
  const Problem problem = make_task("arithmetic")->problem(Split::train, 1, 0);
  EXPECT_EQ(problem.question(), "Compute 5 * (55 * 87).");
  EXPECT_EQ(
      make_task("words")->problem(Split::test, 1, 0).question(),
      "Jonas has 19 shells. The town has 23 bridges. Then Jonas buys 10 more shells. Then Jonas buys 12 more "
      "shells. "
      "Then Jonas buys 14 more shells. Jonas gives 30 shells to Farid. How many shells does Jonas have now?");
  EXPECT_EQ(make_task("countdown")->problem(Split::test, 1, 0).question(),
            "Using the numbers 23, 18, 22, 17, each at most once, and + - * / and parentheses, write an "
            "expression that "
            "equals 80.");
}

TEST(GeneratedTaskTest, ATestProblemIsNeverMetInTraining) {
  constexpr std::int64_t kProblems = 20'000;  // of each task: 100,000 for training in all
  for (const char* spec : {"arithmetic", "words", "countdown", "sorting", "strings"}) {
    const auto task = make_task(spec);
    std::set<std::string> trained;
    std::int64_t tested = 0;
    for (std::int64_t i = 0; i < kProblems; ++i) {
      const Problem problem = task->problem(Split::train, 1, i);
      trained.insert(problem.canonical);
      trained.insert(problem.question());
    }
    for (std::int64_t i = 0; i < kProblems / 4; ++i) {
      const Problem problem = task->problem(Split::test, static_cast<std::uint64_t>(i % 3), i);
      EXPECT_FALSE(trained.contains(problem.canonical)) << problem.canonical;
      EXPECT_FALSE(trained.contains(problem.question())) << problem.question();
      tested += split_of_problem(problem.canonical) == Split::test ? 1 : 0;
    }
    EXPECT_EQ(tested, kProblems / 4);
  }
}

TEST(GeneratedTaskTest, OneProblemInTenIsForTests) {
  std::int64_t tests = 0;
  for (int i = 0; i < 10'000; ++i) tests += split_of_problem(std::to_string(i)) == Split::test ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(tests), 1000, 4 * 30) << "four standard deviations";
}

TEST(GeneratedTaskTest, OrderOfSumsAndListsMakesNoOtherProblem) {
  const auto task = make_task("arithmetic:digits=1,depth=1,operators=+");
  std::set<std::string> canonicals;
  for (std::int64_t i = 0; i < 2000; ++i) {
    canonicals.insert(task->problem(Split::train, 1, i).canonical);
    canonicals.insert(task->problem(Split::test, 1, i).canonical);
  }
  EXPECT_EQ(canonicals.size(), 55U) << "unordered pairs of digits";
}

TEST(GeneratedTaskTest, WordProblemsTakeAsManyStepsAsTheySay) {
  const auto task = make_task("words");
  std::set<std::string> kinds;
  std::set<std::string> step_counts;
  for (std::int64_t i = 0; i < 500; ++i) {
    const Problem problem = task->problem(Split::train, 1, i);
    const auto lines = std::ranges::count(problem.solution, '\n') - 2;  // without the tags' lines
    EXPECT_EQ(std::to_string(lines), problem.metadata.at("steps")) << problem.solution;
    kinds.insert(problem.metadata.at("kind"));
    step_counts.insert(problem.metadata.at("steps"));
  }
  EXPECT_EQ(kinds.size(), 6U);
  EXPECT_EQ(step_counts.size(), 5U);
}

TEST(GeneratedTaskTest, CountdownTakesAnyExpressionThatReachesTheTarget) {
  const auto task = make_task("countdown");
  Problem problem;
  problem.turns = {{"user", "?"}};
  problem.metadata = {{"numbers", "3 4 5 6"}, {"target", "27"}};
  EXPECT_EQ(task->score(problem, {"\\boxed{3 \\times (4 + 5)}"}).accuracy, 1);
  EXPECT_EQ(task->score(problem, {"The answer is (4 + 5) * 3 = 27."}).accuracy, 1);
  EXPECT_EQ(task->score(problem, {"27"}).explanation, "27 is not one of the numbers");
  problem.metadata["target"] = "much";
  EXPECT_THAT(error_of([&] { static_cast<void>(task->score(problem, {"3"})); }),
              HasSubstr("is no whole number"));
  problem.metadata = {};
  EXPECT_THAT(error_of([&] { static_cast<void>(task->score(problem, {"3"})); }), HasSubstr("no \"numbers\""));
}

}  // namespace
}  // namespace fathom
