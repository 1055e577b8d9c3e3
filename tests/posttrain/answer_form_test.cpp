#include "posttrain/answer_form.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(AnswerFormTest, AThinkBlockStandsFirstOnceAndIsFollowedByText) {
  EXPECT_TRUE(has_think_form("<think>\nwell\n</think>\n5", ThinkBlock::required));
  EXPECT_TRUE(has_think_form("\n <think>well</think>5", ThinkBlock::required));
  for (const char* wrong :
       {"5", "", "<think>well", "well</think>5", "<think>well</think>", "<think></think>5",
        "<think> \n</think>5", "so <think>well</think>5", "</think>well<think>5",
        "<think><think>well</think>5", "<think>a</think>5<think>b</think>6", "<think>a</think></think>5"})
    EXPECT_FALSE(has_think_form(wrong, ThinkBlock::required)) << wrong;
}

TEST(AnswerFormTest, WhereTheBlockIsOptionalTextWithoutTagsIsFine) {
  EXPECT_TRUE(has_think_form("5", ThinkBlock::optional));
  EXPECT_TRUE(has_think_form("<think>well</think>5", ThinkBlock::optional));
  EXPECT_FALSE(has_think_form(" ", ThinkBlock::optional));
  EXPECT_FALSE(has_think_form("<think>5", ThinkBlock::optional));
}

TEST(AnswerFormTest, LanguageIsTheShareOfWordsInThePromptsScript) {
  EXPECT_EQ(language_consistency("How many?", "It is five"), 1);
  EXPECT_EQ(language_consistency("How many?", "It is \xD0\xBF\xD1\x8F\xD1\x82\xD1\x8C ok"), 0.75);
  EXPECT_EQ(language_consistency("How many?",
                                 "\xE4\xBA\x94\xE4\xB8\xAA"
                                 " x"),
            1.0 / 3)
      << "two Han characters, two words";
  EXPECT_EQ(language_consistency("\xE5\xA4\x9A\xE5\xB0\x91", "It is"), 0);
  EXPECT_EQ(language_consistency("1 + 1", "two"), 1) << "no script is wanted";
  EXPECT_EQ(language_consistency("How many?", "42"), 1) << "no words are of another";
  EXPECT_EQ(language_consistency("How?", "\xFF\xFE five"), 1) << "bytes that are no UTF-8 are no words";
}

TEST(AnswerFormTest, OverlongAnswersArePunishedAsDapoDoes) {
  EXPECT_EQ(overlong_punishment(80, 100, 20), 0);
  EXPECT_EQ(overlong_punishment(90, 100, 20), -0.5);
  EXPECT_EQ(overlong_punishment(100, 100, 20), -1);
  EXPECT_EQ(overlong_punishment(1000, 100, 20), -1);
  EXPECT_EQ(overlong_punishment(1000, 0, 20), 0);
  EXPECT_EQ(overlong_punishment(100, 100, 0), 0);
  EXPECT_EQ(overlong_punishment(101, 100, 0), -1);
}

}  // namespace
}  // namespace fathom
