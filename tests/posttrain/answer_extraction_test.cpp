#include "posttrain/answer_extraction.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "posttrain/task.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

// Goldens: make_answer_goldens.py, which shares nothing with our code but the rules in answer_extraction.h.
TEST(AnswerExtractionTest, NumbersAreThoseOfAnIndependentScorer) {
  const Json cases = read_json_file(test::golden("posttrain/goldens/answers.json"));
  ASSERT_GT(cases.size(), 1500U);
  for (const Json& one : cases) {
    const std::string answer = one.at(0);
    const std::string reference = one.at(1);
    const Task::Check check = check_number(reference, answer);
    EXPECT_EQ(check.accuracy, one.at(3).get<bool>() ? 1 : 0) << answer << "\nreference: " << reference;
    const std::string wanted = one.at(2).is_null() ? "" : one.at(2);
    // Values of more digits than are exact have spellings of their own.
    if (wanted.size() < 18) {
      EXPECT_EQ(check.extracted, wanted) << answer;
    }
  }
}

TEST(AnswerExtractionTest, EqualNumbersAreExtractedAsEqualText) {
  for (const char* half :
       {"0.5", "1/2", ".50", "\\frac{2}{4}", "\\frac12", "The answer is 0.500.", "\\boxed{x = 1/2}"})
    EXPECT_EQ(check_number("1/2", half).extracted, "1/2") << half;
}

TEST(AnswerExtractionTest, ABoxThatHedgesHoldsNoAnswer) {
  EXPECT_FALSE(extract_number("\\boxed{12, 13}"));
  EXPECT_EQ(check_number("12", "\\boxed{12 or 13}").accuracy, 0);
}

TEST(AnswerExtractionTest, WhatIsSaidWhileThinkingIsNoAnswer) {
  EXPECT_FALSE(extract_number("<think>The answer is 5"));
  EXPECT_EQ(extract_text("<think>\\boxed{pear}</think>apple"), "apple");
  EXPECT_EQ(extract_text("<think>\\boxed{pear}"), "");
}

TEST(AnswerExtractionTest, TextIsFoundByItsMarksOrInTheLastLine) {
  EXPECT_EQ(extract_text("\\boxed{\\text{ Paris }}"), "Paris");
  EXPECT_EQ(extract_text("The answer is **Paris**.\nBye"), "Paris");
  EXPECT_EQ(extract_text("Well,\n#### Paris\n"), "Paris");
  EXPECT_EQ(extract_text("First\n\"New   York\".\n \n"), "New York");
  EXPECT_EQ(extract_text(" \n\n"), "");
  EXPECT_FALSE(extract_marked_text("Paris"));
  EXPECT_EQ(extract_marked_text("answer: B"), "B");
}

TEST(AnswerExtractionTest, ListsAreComparedByTheirItems) {
  EXPECT_EQ(plain_list("[apple, \"pear\";plum ]"), "apple pear plum");
  EXPECT_EQ(check_list("1, 2, 3", "\\boxed{1 2 3}").accuracy, 1);
  EXPECT_EQ(check_list("1, 2, 3", "1, 3, 2").accuracy, 0);
  EXPECT_EQ(check_list("1, 2, 3", "").accuracy, 0);
}

TEST(AnswerExtractionTest, HostileTextIsReadInReasonableTime) {
  const std::string braces(1 << 20, '{');
  EXPECT_FALSE(extract_number("\\boxed{" + braces));
  EXPECT_EQ(extract_text(std::string(1 << 20, '\n')), "");
  std::string commas = "1";
  for (int i = 0; i < 200'000; ++i) commas += ",000";
  EXPECT_EQ(find_numbers(commas + "0").size(), 2U) << "all groups but the last, and that";
  EXPECT_EQ(find_numbers(std::string(1 << 20, '9')).front().value.size(), std::size_t{1} << 20U);
  EXPECT_EQ(find_numbers("9" + std::string(100, '0') + "/" + std::string(1000, '0') + "3").size(), 1U);
}

}  // namespace
}  // namespace fathom
