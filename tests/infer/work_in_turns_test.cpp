#include "infer/work_in_turns.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "base/error.h"

namespace fathom {
namespace {

void work() {
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

TEST(WorkInTurnsTest, WaysAlternateAndTheLongerOneEndsAlone) {
  std::string order;  // no lock: only one way runs at a time
  const auto way = [&order](char name, int turns) {
    return [&order, name, turns](WorkInTurns::Side& side) {
      for (int i = 0; i < turns; ++i) {
        order += name;
        side.pass_on();
      }
    };
  };
  WorkInTurns::run({way('a', 2), way('b', 4)}, 0);
  EXPECT_EQ(order, "ababbb");
  order.clear();
  WorkInTurns::run({way('a', 2), way('b', 2)}, 1);
  EXPECT_EQ(order, "baba");
}

TEST(WorkInTurnsTest, OnlyAWaysOwnTurnsCount) {
  const std::array<double, 2> seconds = WorkInTurns::run({[](WorkInTurns::Side& side) {
                                                            for (int i = 0; i < 4; ++i) {
                                                              work();
                                                              side.pass_on();
                                                            }
                                                          },
                                                          [](WorkInTurns::Side& side) {
                                                            for (int i = 0; i < 20; ++i) work();
                                                            side.count_from_here();
                                                            side.pass_on();
                                                            work();
                                                          }},
                                                         0);
  EXPECT_GE(seconds[0], 0.020);
  EXPECT_GE(seconds[1], 0.005);
  EXPECT_LT(seconds[1], 0.100) << "what was before the count is left out";
}

TEST(WorkInTurnsTest, AWayThatFailsLetsTheOtherEnd) {
  bool has_ended = false;
  EXPECT_THROW(WorkInTurns::run({[](WorkInTurns::Side&) { fail("it cannot"); },
                                 [&](WorkInTurns::Side& side) {
                                   side.pass_on();
                                   has_ended = true;
                                 }},
                                0),
               Error);
  EXPECT_TRUE(has_ended);
}

}  // namespace
}  // namespace fathom
