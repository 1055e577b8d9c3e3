#include "posttrain/task_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "support/error_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

std::string task_error(const std::string& spec) {
  return error_of([&] { make_task(spec); });
}

TEST(TaskRegistryTest, ErrorsNameTheNearestTaskAndOption) {
  EXPECT_EQ(task_error("aritmetic"), "there is no task \"aritmetic\": did you mean arithmetic?");
  EXPECT_THAT(task_error("xyzzy"), HasSubstr("`fathom task --list`"));
  EXPECT_EQ(task_error("arithmetic:digit=3"),
            "task arithmetic: there is no option \"digit\": did you mean digits?");
  EXPECT_EQ(task_error("arithmetic:digits=7"),
            "task arithmetic: digits is a whole number from 1 to 6, not \"7\"");
  EXPECT_EQ(task_error("arithmetic:digits=two"),
            "task arithmetic: digits is a whole number from 1 to 6, not \"two\"");
  EXPECT_EQ(task_error("arithmetic:operators=^"), "task arithmetic: operators is some of + - * /, not \"^\"");
  EXPECT_EQ(task_error("arithmetic:digits"),
            "task arithmetic: \"digits\" has no value: write it as TASK:key=value,key=value");
  EXPECT_EQ(task_error("arithmetic:digits=1,digits=2"), "task arithmetic: digits is given twice");
  EXPECT_EQ(task_error("words:kind=poem"),
            "task words: kind is collection, shopping, trip, ages, factory, sharing or all, not \"poem\"");
  EXPECT_EQ(task_error("words:min-steps=5,max-steps=3"), "task words: min-steps is 5 and max-steps 3");
  EXPECT_EQ(task_error("sorting:think=maybe"), "task sorting: think is required or optional, not \"maybe\"");
}

TEST(TaskRegistryTest, ValuesMayHoldCommas) {
  const auto task = make_task("arithmetic:system=Be quick, be right,digits=1");
  EXPECT_EQ(task->rules().system, "Be quick, be right");
  const Problem problem = task->problem(Split::train, 1, 0);
  ASSERT_EQ(problem.turns.size(), 2U);
  EXPECT_EQ(problem.turns.front().role, "system");
  EXPECT_EQ(problem.turns.front().content, "Be quick, be right");
  EXPECT_EQ(task->name(), "arithmetic:digits=1,system=Be quick, be right");
}

TEST(TaskRegistryTest, EveryOptionHasAStandardThatItsTaskTakes) {
  for (const TaskKind& kind : task_kinds()) {
    EXPECT_FALSE(kind.summary.empty());
    for (const TaskOption& option : kind.options)
      EXPECT_FALSE(option.help.empty()) << kind.name << option.key;
  }
}

TEST(TaskRegistryTest, CommonOptionsShapeRewards) {
  const auto task = make_task("arithmetic:think=optional,length-limit=100,length-margin=50");
  const Problem problem = task->problem(Split::train, 1, 0);
  const Reward reward = task->score(problem, {problem.reference, 75});
  EXPECT_EQ(reward.accuracy, 1);
  EXPECT_EQ(reward.format, 1);
  EXPECT_EQ(reward.length, -0.5);
  EXPECT_EQ(make_task("arithmetic")->score(problem, {problem.reference}).format, 0) << "think block required";
}

}  // namespace
}  // namespace fathom
