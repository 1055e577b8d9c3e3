#include "kernels/simd_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"

namespace fathom {
namespace {

using kernels::limit_simd;
using kernels::simd_in_use;
using kernels::simd_sets;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

class SimdLimitTest : public testing::Test {
 protected:
  ~SimdLimitTest() override {
    ::unsetenv("FATHOM_SIMD");
    limit_simd("");
  }
};

TEST_F(SimdLimitTest, EachSetOfTheMachineCanBeTheBest) {
  const std::vector<std::string> sets = simd_sets();
  EXPECT_EQ(sets.back(), "baseline");
  EXPECT_EQ(simd_in_use(), sets.front());
  for (const std::string& set : sets) {
    limit_simd(set);
    EXPECT_EQ(simd_in_use(), set);
    EXPECT_EQ(simd_sets().back(), "baseline");
  }
  limit_simd("");
  EXPECT_EQ(simd_sets(), sets);
}

TEST_F(SimdLimitTest, TheEnvironmentNamesTheSet) {
  ::setenv("FATHOM_SIMD", "baseline", 1);
  kernels::limit_simd_by_environment();
  EXPECT_EQ(simd_in_use(), "baseline");
}

TEST_F(SimdLimitTest, AnotherNameIsAnErrorThatListsTheSets) {
  const std::string best = simd_in_use();
  EXPECT_THAT([] { limit_simd("sse9"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("sse9"), HasSubstr(best), HasSubstr("baseline"))));
  EXPECT_EQ(simd_in_use(), best);
}

}  // namespace
}  // namespace fathom
