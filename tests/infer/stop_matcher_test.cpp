#include "infer/stop_matcher.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fathom {
namespace {

TEST(StopMatcherTest, TextWithoutAStopStringPassesAtOnce) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.push("hello "), "hello ");
  EXPECT_EQ(matcher.push("world"), "world");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcherTest, StopStringAcrossPiecesIsNeverShown) {
  StopMatcher matcher({"\nUser:"});
  EXPECT_EQ(matcher.push("Hi.\n"), "Hi.");
  EXPECT_EQ(matcher.push("Us"), "");
  EXPECT_EQ(matcher.push("er: and"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcherTest, HeldBackTextIsShownOnceItCannotMatch) {
  StopMatcher matcher({"\nUser:"});
  EXPECT_EQ(matcher.push("a\nUs"), "a");
  EXPECT_EQ(matcher.push("ual"), "\nUsual");
}

TEST(StopMatcherTest, HeldBackTextIsShownAtTheEnd) {
  StopMatcher matcher({"###"});
  EXPECT_EQ(matcher.push("one ##"), "one ");
  EXPECT_EQ(matcher.finish(), "##");
}

TEST(StopMatcherTest, AFailedMatchMayContainTheBeginningOfAnother) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(matcher.push("aa"), "");
  EXPECT_EQ(matcher.push("a"), "a");
  EXPECT_EQ(matcher.push("bc"), "");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcherTest, TheEarliestOfSeveralStopStringsWins) {
  StopMatcher matcher({"later", "mid"});
  EXPECT_EQ(matcher.push("x mid later"), "x ");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcherTest, EmptyStopStringsAreIgnored) {
  StopMatcher matcher({""});
  EXPECT_EQ(matcher.push("text"), "text");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcherTest, ByteByByteGivesTheSameAsAtOnce) {
  const std::string text = "ababababacab<|im_|im_end|> tail";
  for (const std::vector<std::string>& stops :
       {std::vector<std::string>{"abac"}, {"<|im_end|>"}, {"|im_end", "im_|x"}, {"zzz"}}) {
    StopMatcher whole(stops);
    const std::string expected = whole.push(text) + whole.finish();
    StopMatcher bytes(stops);
    std::string shown;
    for (const char c : text) shown += bytes.push(std::string(1, c));
    shown += bytes.finish();
    EXPECT_EQ(shown, expected);
    EXPECT_EQ(bytes.stopped(), whole.stopped());
  }
}

}  // namespace
}  // namespace fathom
