#include "posttrain/countdown_expression.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

// Goldens: make_answer_goldens.py, by Python's ast and fractions.
TEST(CountdownExpressionTest, AgreesWithPythonsParserAndFractions) {
  const Json cases = read_json_file(test::golden("posttrain/goldens/countdown.json"));
  ASSERT_GT(cases.size(), 500U);
  for (const Json& one : cases) {
    const std::string fault =
        countdown_fault(one.at(0).get<std::string>(), one.at(1).get<std::vector<std::int64_t>>(), one.at(2));
    EXPECT_EQ(fault.empty(), one.at(3).get<bool>()) << one << " " << fault;
  }
}

TEST(CountdownExpressionTest, SaysWhatIsWrong) {
  const std::vector<std::int64_t> given = {3, 4, 4};
  EXPECT_EQ(countdown_fault("(3 + 4) \xC3\x97 4", given, 28), "");
  EXPECT_EQ(countdown_fault("4 / 3 * 3", given, 4), "3 is used too often");
  EXPECT_EQ(countdown_fault("4 \\div 4", given, 1), "");
  EXPECT_EQ(countdown_fault("3 + 5", given, 8), "5 is not one of the numbers");
  EXPECT_EQ(countdown_fault("4 / 3", given, 1), "it comes to 4/3, not 1");
  EXPECT_EQ(countdown_fault("4 + 3", given, 8), "it comes to 7, not 8");
  EXPECT_EQ(countdown_fault("4 / (4 - 4)", {4, 4, 4}, 1),
            "the expression cannot be read: it divides by zero");
  EXPECT_EQ(countdown_fault("-3", given, -3), "the expression cannot be read: \"-3\" is not expected there");
  EXPECT_EQ(countdown_fault("4 +", given, 4), "the expression cannot be read: it ends too early");
  EXPECT_EQ(countdown_fault("8", {8}, 8), "");
}

TEST(CountdownExpressionTest, HostileExpressionsAreRefused) {
  EXPECT_EQ(evaluate_countdown(std::string(900, '(')).fault, "it nests too deep");
  EXPECT_EQ(evaluate_countdown(std::string(1 << 20, '1')).fault, "it is too long");
  EXPECT_EQ(evaluate_countdown("9223372036854775807 + 1").fault, "its numbers become too large");
  EXPECT_EQ(evaluate_countdown("9999999999999999999").fault, "its numbers become too large");
  EXPECT_EQ(evaluate_countdown("1 / 4611686018427387904 / 4").fault, "its numbers become too large");
  EXPECT_EQ(evaluate_countdown("(0-9223372036854775807) - 1").fault, "its numbers become too large");
  EXPECT_FALSE(evaluate_countdown(std::string("1\0+2", 4)).is_valid);
}

}  // namespace
}  // namespace fathom
