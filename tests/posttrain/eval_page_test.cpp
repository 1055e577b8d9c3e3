#include "posttrain/eval_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "posttrain/eval_summary.h"

namespace fathom {
namespace {

using testing::HasSubstr;
using testing::Not;

EvalSample page_sample(std::int64_t index, bool is_right) {
  EvalSample one;
  one.task = "words";
  one.index = index;
  one.id = std::to_string(index);
  one.question = "<b>How many</b> in no. " + std::to_string(index) + "?";
  one.reference = "7";
  one.tokens = 10 + index;
  one.reason = "end_of_text";
  one.reward.accuracy = is_right ? 1 : 0;
  one.reward.extracted = is_right ? "7" : "8";
  return one;
}

/// @param right  how many of 40 problems
NamedRecord evaluation(const std::string& name, std::int64_t right) {
  NamedRecord named{name, {}};
  for (std::int64_t i = 0; i < 40; ++i) named.record.samples.push_back(page_sample(i, i < right));
  return named;
}

TEST(EvalPageTest, ShowsFiguresDifferencesAndWhatChanged) {
  const std::string page =
      eval_page(std::vector<NamedRecord>{evaluation("base", 10), evaluation("tuned", 30)});
  EXPECT_THAT(page, HasSubstr("75.0 %"));
  EXPECT_THAT(page, HasSubstr("tuned against base"));
  EXPECT_THAT(page, HasSubstr("+50.0 points"));
  EXPECT_THAT(page, HasSubstr("words, greedy, became right: 20"));
  EXPECT_THAT(page, HasSubstr("&lt;b&gt;How many"));
  EXPECT_THAT(page, Not(HasSubstr("<b>How many")));
  EXPECT_THAT(page, Not(HasSubstr("http://127"))) << "nothing is asked of the network";
}

TEST(EvalPageTest, PairedDifferencesAreOfProblemsThatBothAnswered) {
  EvalRecord first = evaluation("a", 10).record;
  EvalRecord second = evaluation("b", 20).record;
  second.samples.resize(30);
  second.samples[0].id = "another problem";
  const auto pairs = paired_differences(first, second);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs.front().problems, 29);
  EXPECT_NEAR(pairs.front().difference.value, 10.0 / 29, 1e-12);
  EXPECT_GT(pairs.front().difference.low, 0);
  EXPECT_EQ(pairs.front().gained.size(), 10U);
  EXPECT_TRUE(pairs.front().lost.empty());
}

TEST(EvalPageTest, EvaluationsWithNothingInCommonAreStillShown) {
  NamedRecord other = evaluation("other", 5);
  for (EvalSample& sample : other.record.samples) sample.task = "sorting";
  EXPECT_THAT(eval_page(std::vector<NamedRecord>{evaluation("one", 5), other}),
              HasSubstr("They have no problems in common."));
}

}  // namespace
}  // namespace fathom
