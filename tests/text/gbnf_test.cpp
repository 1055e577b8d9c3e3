#include "text/gbnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "base/error.h"
#include "base/rng.h"
#include "grammar_support.h"
#include "small_tokenizer.h"
#include "support/error_text.h"
#include "text/code_points.h"
#include "text/grammar_automaton.h"
#include "text/utf8.h"

namespace fathom::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

bool gbnf_matches(std::string_view grammar, std::string_view text) {
  return matches(gbnf_grammar(grammar, small_tokenizer()), text);
}

std::string gbnf_error(std::string_view text) {
  return error_of([&] { GrammarAutomaton{parse_gbnf(text, "g")}; });
}

TEST(GbnfTest, LiteralsChoicesAndSequences) {
  const std::string grammar = R"(root ::= "a" "b" | "c")";
  EXPECT_TRUE(gbnf_matches(grammar, "ab"));
  EXPECT_TRUE(gbnf_matches(grammar, "c"));
  EXPECT_FALSE(gbnf_matches(grammar, "ac"));
  EXPECT_FALSE(gbnf_matches(grammar, "a"));
  EXPECT_FALSE(gbnf_matches(grammar, "abc"));
  EXPECT_FALSE(gbnf_matches(grammar, ""));
}

TEST(GbnfTest, RepetitionsCount) {
  for (const auto& [suffix, least, most] : {std::tuple{"?", 0, 1},
                                            {"*", 0, 9},
                                            {"+", 1, 9},
                                            {"{3}", 3, 3},
                                            {"{2,}", 2, 9},
                                            {"{2,4}", 2, 4},
                                            {"{,2}", 0, 2},
                                            {"{0}", 0, 0},
                                            {" { 1 , 2 } ", 1, 2}}) {
    const auto grammar = gbnf_grammar("root ::= (\"ab\")" + std::string(suffix), small_tokenizer());
    for (int times = 0; times < 8; ++times) {
      std::string text;
      for (int i = 0; i < times; ++i) text += "ab";
      EXPECT_EQ(matches(grammar, text), least <= times && times <= most) << suffix << " " << times;
      EXPECT_FALSE(matches(grammar, text + "a"));
    }
  }
}

TEST(GbnfTest, ClassesHoldCharactersNotBytes) {
  const std::string grammar = "root ::= [a-cé\\u4e00-\\u9fff\\U0001F600]";
  for (const char* text : {"a", "c", "é", "一", "中", "😀"}) EXPECT_TRUE(gbnf_matches(grammar, text)) << text;
  for (const char* text : {"d", "è", "ア", "😁", "\xC3", "ab"})
    EXPECT_FALSE(gbnf_matches(grammar, text)) << text;
  EXPECT_TRUE(gbnf_matches("root ::= [^\"\\\\\\n]", "é"));
  EXPECT_FALSE(gbnf_matches("root ::= [^\"\\\\\\n]", "\n"));
  EXPECT_TRUE(gbnf_matches("root ::= [-a]", "-"));
  EXPECT_TRUE(gbnf_matches("root ::= [a-]", "-"));
  EXPECT_TRUE(gbnf_matches("root ::= [\\]\\^]", "^"));
  EXPECT_TRUE(gbnf_matches("root ::= .", "\xF4\x8F\xBF\xBF"));
  EXPECT_FALSE(gbnf_matches("root ::= .", "\xED\xA0\x80"));  // a surrogate
  EXPECT_FALSE(gbnf_matches("root ::= .", "\xC0\x80"));      // too long a form
}

TEST(GbnfTest, EveryCharacterIsInExactlyItsClass) {
  // The edges at which UTF-8 changes its length, or a byte its range.
  for (const std::uint32_t edge :
       {0x0U, 0x3FU, 0x7FU, 0x80U, 0xBFU, 0x7FFU, 0x800U, 0xFFFU, 0x1000U, 0xD7FFU, 0xE000U, 0xFFFFU,
        0x10000U, 0x3FFFFU, 0x40000U, 0xFFFFFU, 0x100000U, 0x10FFFFU}) {
    Grammar grammar;
    grammar.rules.push_back({"root", expr::char_class({{edge, 0x10FFFF}}), "here"});
    const auto compiled = token_grammar(grammar, small_tokenizer());
    for (const std::uint32_t c :
         {0x0U,    0x3FU,   0x40U,   0x7FU,   0x80U,    0xBFU,    0xC0U,    0x7FFU,   0x800U,    0xFFFU,
          0x1000U, 0xD7FFU, 0xE000U, 0xFFFFU, 0x10000U, 0x3FFFFU, 0x40000U, 0xFFFFFU, 0x100000U, 0x10FFFFU}) {
      std::string text;
      append_code_point(c, text);
      EXPECT_EQ(matches(compiled, text), c >= edge) << edge << " " << c;
    }
  }
}

TEST(GbnfTest, RulesMayStandInAnyOrderAndCallEachOther) {
  const std::string grammar = R"gbnf(
    # balanced brackets
    pair ::= "(" root ")"
           | "[" root "]"   # two kinds
    root ::= pair*
  )gbnf";
  EXPECT_TRUE(gbnf_matches(grammar, ""));
  EXPECT_TRUE(gbnf_matches(grammar, "([()[]])()"));
  EXPECT_FALSE(gbnf_matches(grammar, "([)]"));
  EXPECT_FALSE(gbnf_matches(grammar, "("));
}

TEST(GbnfTest, RightRecursionIsNoDeeperThanALoop) {
  const auto grammar = gbnf_grammar("root ::= \"a\" root | \"b\"", small_tokenizer());
  EXPECT_TRUE(matches(grammar, std::string(1'500'000, 'a') + "b"));
}

TEST(GbnfTest, AmbiguousGrammarsAreFollowedInAllWays) {
  const auto grammar =
      gbnf_grammar("root ::= (word word)* \"!\"\nword ::= \"a\"+ | \"ab\"", small_tokenizer());
  EXPECT_TRUE(matches(grammar, "aa!"));
  EXPECT_TRUE(matches(grammar, std::string(5000, 'a') + "b!"));
  EXPECT_FALSE(matches(grammar, "a!"));
  EXPECT_TRUE(matches(grammar, "aab!"));
}

TEST(GbnfTest, RulesThatMayBeEmptyMayBeRepeated) {
  EXPECT_TRUE(gbnf_matches("root ::= (a* b?)* \"c\"\na ::= \"x\"?\nb ::= a a", "xxxc"));
  EXPECT_TRUE(gbnf_matches("root ::= \"\"", ""));
}

TEST(GbnfTest, ErrorsNameLineAndColumn) {
  EXPECT_THAT(gbnf_error("root ::= \"a\"\n  | b"), StartsWith("g:2:5: no rule is called b"));
  EXPECT_THAT(gbnf_error("a ::= \"a\""), HasSubstr("no rule is called root"));
  EXPECT_THAT(gbnf_error(""), HasSubstr("no rule is called root"));
  EXPECT_THAT(gbnf_error("root = \"a\""), StartsWith("g:1:6: \"::=\" is expected"));
  EXPECT_THAT(gbnf_error("root ::= \"a"), StartsWith("g:1:10: this literal does not end"));
  EXPECT_THAT(gbnf_error("root ::= [a"), StartsWith("g:1:10: this class does not end"));
  EXPECT_THAT(gbnf_error("root ::= [z-a]"), StartsWith("g:1:11: a range"));
  EXPECT_THAT(gbnf_error("root ::= []"), StartsWith("g:1:10: a class that holds no character"));
  EXPECT_THAT(gbnf_error("root ::= (\"a\""), StartsWith("g:1:10: ')' is missing"));
  EXPECT_THAT(gbnf_error("root ::= \"a\")"), StartsWith("g:1:13: ')' is not expected"));
  EXPECT_THAT(gbnf_error("root ::= \"\\q\""), StartsWith("g:1:11: the escape \\q"));
  EXPECT_THAT(gbnf_error("root ::= \"\\ud800\""), HasSubstr("no character"));
  EXPECT_THAT(gbnf_error("root ::= \"\\x4\""), HasSubstr("2 hexadecimal digits"));
  EXPECT_THAT(gbnf_error("root ::= \"a\"{3,2}"), HasSubstr("at least 3 repetitions and at most 2"));
  EXPECT_THAT(gbnf_error("root ::= \"a\"{99999999999999999999}"), HasSubstr("more than 10000 repetitions"));
  EXPECT_THAT(gbnf_error("root ::= \"a\"\nroot ::= \"b\""),
              StartsWith("g:2:1: the rule root is given twice"));
  EXPECT_THAT(gbnf_error("root ::= \"\xFF\""), HasSubstr("not UTF-8"));
}

TEST(GbnfTest, LeftRecursionIsNamed) {
  EXPECT_THAT(gbnf_error("root ::= root \"a\" | \"b\""),
              StartsWith("g:1:1: the rule root begins with itself"));
  EXPECT_THAT(
      gbnf_error("root ::= \"x\" a\na ::= b \"1\" | \"2\"\nb ::= \"\" c\nc ::= d? a \"3\"\nd ::= \"4\""),
      HasSubstr("(a > b > c > a)"));
}

TEST(GbnfTest, RulesWithoutEndAreNamed) {
  EXPECT_THAT(gbnf_error("root ::= \"a\" b | \"c\"\nb ::= \"d\" b"),
              StartsWith("g:2:1: the rule b never ends"));
}

TEST(GbnfTest, WhatIsTooLargeIsRefusedSoon) {
  EXPECT_THAT(gbnf_error("root ::= ((\"a\"{10000}){10000}){10000}"), HasSubstr("too large"));
  EXPECT_THAT(gbnf_error("root ::= (\"a\" | \"b\")* \"a\" (\"a\" | \"b\"){40}"), HasSubstr("too large"));
  EXPECT_THAT(gbnf_error("root ::= ((\"a\"?){10000}){100}"), HasSubstr("too large"));
  EXPECT_THAT(gbnf_error("root ::= " + std::string(200, '(')), HasSubstr("nested deeper"));
  EXPECT_THAT(gbnf_error("root ::= \"a\"" + std::string(200, '*')), HasSubstr("repetitions of one another"));
  EXPECT_THAT(gbnf_error(std::string((1U << 20U) + 1, ' ')), HasSubstr("longer than"));
  std::string rules = "root ::= r0\n";
  for (int i = 0; i < 9990; ++i) rules += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + "\n";
  EXPECT_EQ(gbnf_error(rules + "r9990 ::= \"a\""), "no error");
  EXPECT_THAT(gbnf_error(rules + "r9990 ::= r0"), HasSubstr("begins with itself"));
}

TEST(GbnfTest, NoTextCrashesIt) {
  const std::string letters = "root ::= \"ab\\x41u[]^-.()|*+?{}0123,#\n \xC3\xA9\xFF";
  Rng random(1);
  int accepted = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    std::string text = random.below(2) == 0 ? "root ::= " : "";
    for (std::uint64_t left = random.below(24); left > 0; --left)
      text += letters[random.below(letters.size())];
    accepted += gbnf_error(text) == "no error" ? 1 : 0;
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace fathom::test
