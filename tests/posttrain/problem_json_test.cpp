#include "posttrain/problem_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "posttrain/task_registry.h"
#include "support/error_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

TEST(ProblemJsonTest, AProblemComesBackFromItsLineWithItsSolutionAsTheAnswer) {
  const auto task = make_task("countdown:system=Think.");
  const Problem problem = task->problem(Split::train, 1, 0);
  const AnsweredProblem back = answered_problem_of_json(Json(problem_to_json(problem)), "here");
  EXPECT_EQ(back.problem.turns, problem.turns);
  EXPECT_EQ(back.problem.reference, problem.reference);
  EXPECT_EQ(back.problem.metadata, problem.metadata);
  EXPECT_EQ(back.problem.canonical, problem.canonical);
  EXPECT_EQ(back.response.text, problem.solution);
}

TEST(ProblemJsonTest, AResponseIsScoredBeforeTheSolution) {
  const Json line = Json::parse(R"({"messages": [{"role": "user", "content": "1+1?"},
      {"role": "assistant", "content": "2"}], "answer": "2", "response": "3", "tokens": 7})");
  const AnsweredProblem answered = answered_problem_of_json(line, "here");
  EXPECT_EQ(answered.response.text, "3");
  EXPECT_EQ(answered.response.tokens, 7);
}

TEST(ProblemJsonTest, ErrorsNameLineAndField) {
  for (
      const auto& [text, message] : std::vector<std::pair<const char*, const char*>>{
          {"[]", "F:1: is no JSON object"},
          {"{}", "F:1: needs a list \"messages\""},
          {R"({"messages": [1]})", "F:1: a message is no object"},
          {R"({"messages": [{"role": "user"}]})", "F:1: needs a string \"content\""},
          {R"({"messages": []})", "F:1: its messages hold none of a user"},
          {R"({"messages": [{"role": "user", "content": "?"}], "answer": 5})",
           "F:1: needs a string \"answer\""},
          {R"({"messages": [{"role": "user", "content": "?"}], "answer": "5"})",
           "F:1: has no answer to score"},
          {R"({"messages": [{"role": "user", "content": "?"}], "answer": "5", "response": "", "tokens": -1})",
           "F:1: \"tokens\" is no count"},
          {R"({"messages": [{"role": "user", "content": "?"}], "answer": "5", "response": "", "metadata": 1})",
           "F:1: \"metadata\" is no object"}})
    EXPECT_THAT(error_of([text = text] { answered_problem_of_json(Json::parse(text), "F:1"); }),
                HasSubstr(message));
}

}  // namespace
}  // namespace fathom
