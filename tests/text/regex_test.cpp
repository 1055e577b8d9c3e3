#include "text/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "text/regex_dialect.h"

namespace fathom::test {
namespace {

using testing::HasSubstr;

std::vector<std::string> matches(const char* pattern, std::string_view text) {
  const Regex regex(pattern, "pattern");
  RegexScratch scratch;
  std::vector<std::string> found;
  for (std::size_t from = 0; from < text.size();) {
    const auto match = regex.find(text, from, scratch);
    if (!match) break;
    found.emplace_back(text.substr(match->begin, match->end - match->begin));
    from = std::max(match->end, match->begin + 1);
  }
  return found;
}

TEST(RegexTest, KnowsTheCharactersOfUnicode15And16) {
  // U+1FAE8 and U+1FADF are symbols, U+31350 and U+2EBF0 letters and Han, U+1E4F0 a digit.
  const char* text = "\U0001FAE8\U0001FADF\U00031350\U0002EBF0\U0001E4F0";
  EXPECT_THAT(matches("\\p{So}", text), testing::ElementsAre("\U0001FAE8", "\U0001FADF"));
  EXPECT_THAT(matches("[\\p{L}]", text), testing::ElementsAre("\U00031350", "\U0002EBF0"));
  EXPECT_THAT(matches("\\p{Han}+", text), testing::ElementsAre("\U00031350\U0002EBF0"));
  EXPECT_THAT(matches("\\d", text), testing::ElementsAre("\U0001E4F0"));
  EXPECT_THAT(matches("\\P{L}+", text), testing::ElementsAre("\U0001FAE8\U0001FADF", "\U0001E4F0"));
}

TEST(RegexTest, WhiteSpaceIsUnicodes) {
  EXPECT_THAT(matches("\\s", "a\u180e\u200b\u0085\u2028\u3000\v"),
              testing::ElementsAre("\u0085", "\u2028", "\u3000", "\v"));
}

TEST(RegexTest, LinesBeginAndEndAtNewlines) {
  EXPECT_THAT(matches("^.", "ab\ncd"), testing::ElementsAre("a", "c"));
  EXPECT_THAT(matches(".$", "ab\ncd"), testing::ElementsAre("b", "d"));
}

TEST(RegexTest, RefusesWhatItWouldMatchDifferently) {
  const char* const kRefused[] = {
      "[a&&b]",  "[a[b]]",  "(a)\\1", "\\p{C}",     "\\p{Cn}", "[\\P{L}]", "[\\W]",  "a{1,2}+", "a{2}?",
      "(?m:a.)", "(?<n>a)", "\\X",    "\\R",        "\\K",     "\\G",      "\\xff",  "\\p{",    "\\p{No }",
      "(?#c)",   "\\",      "[",      "\\p{Bogus}", "[]a]",    "\\u12",    "\\x{12", "a**"};
  for (const char* pattern : kRefused) {
    EXPECT_THAT(error_of([&] { Regex(pattern, "file: step 1"); }), HasSubstr("file: step 1")) << pattern;
  }
}

TEST(RegexTest, PatternsThatExplodeAreStopped) {
  const std::string text(5000, 'a');
  RegexScratch scratch;
  scratch.begin_text(text.size());
  const Regex regex("(?:a|aa)+(?<!a)x|(?:a|aa)+(?!a)(?<=b)", "file: step 1");
  EXPECT_THAT(error_of([&] { static_cast<void>(regex.find(text, 0, scratch)); }),
              HasSubstr("file: step 1: the pattern cannot be matched on this text"));
}

TEST(RegexTest, DeepMatchesAreFinishedByTheInterpreter) {
  const std::string text(300'000, 'a');
  RegexScratch scratch;
  const auto match = Regex("(?:a|b)+", "pattern").find(text, 0, scratch);
  ASSERT_TRUE(match.has_value());
  EXPECT_EQ(match->end, text.size());
}

TEST(RegexTest, FindsMatchesFarIntoATextAndBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "é";
  RegexScratch scratch;
  const Regex regex("z|$", "pattern");
  EXPECT_EQ(regex.find(text, 0, scratch)->begin, text.size());
  text += "z";
  EXPECT_EQ(regex.find(text, 1234 * 2, scratch)->begin, text.size() - 1);
}

}  // namespace
}  // namespace fathom::test
