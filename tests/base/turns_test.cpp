#include "base/turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace fathom {
namespace {

using testing::ElementsAre;

/// Something to wait for that comes at once.
struct Nothing {
  void wait() const {}
};

TEST(TurnsTest, ATurnEndsWhereItsSideWaits) {
  std::vector<std::string> order;
  const auto side = [&](const std::string& name, int steps) {
    for (int i = 0; i < steps; ++i) {
      order.push_back(name + std::to_string(i));
      Turns::wait(Nothing{});
    }
    order.push_back(name + " ends");
  };
  Turns::run([&] { side("a", 2); }, [&] { side("b", 4); });
  EXPECT_THAT(order, ElementsAre("a0", "b0", "a1", "b1", "a ends", "b2", "b3", "b ends"));
}

TEST(TurnsTest, OneSideComputesWhileTheOtherWaits) {
  std::atomic<bool> came = false;
  struct Awaited {
    const std::atomic<bool>& came;
    void wait() const {
      while (!came) std::this_thread::yield();
    }
  };
  std::vector<std::string> order;
  Turns::run(
      [&] {
        Turns::wait(Awaited{came});
        order.emplace_back("has waited");
      },
      [&] {
        order.emplace_back("computes");
        came = true;
      });
  EXPECT_THAT(order, ElementsAre("computes", "has waited"));
}

TEST(TurnsTest, WhatOneSideThrowsEndsTheOtherWhereItWaits) {
  std::vector<std::string> order;
  const auto waits = [&] {
    order.emplace_back("waits");
    Turns::wait(Nothing{});
    order.emplace_back("goes on");
  };
  EXPECT_THROW(Turns::run(waits, [] { throw std::out_of_range("second"); }), std::out_of_range);
  EXPECT_THAT(order, ElementsAre("waits"));
}

TEST(TurnsTest, ASideDoesNotBeginWhenTheOtherHasFailed) {
  bool began = false;
  EXPECT_THROW(Turns::run([] { throw std::out_of_range("first"); }, [&] { began = true; }),
               std::out_of_range);
  EXPECT_FALSE(began);
}

TEST(TurnsTest, TheFirstErrorIsTheOneThatIsThrown) {
  EXPECT_THROW(Turns::run(
                   [] {
                     try {
                       Turns::wait(Nothing{});
                     } catch (const Error&) {
                       throw std::logic_error("on the way out");
                     }
                   },
                   [] { throw std::out_of_range("first"); }),
               std::out_of_range);
}

TEST(TurnsTest, AfterAnErrorTheThreadTakesNoTurnsAnyMore) {
  EXPECT_THROW(Turns::run([] { throw std::out_of_range("first"); }, [] {}), std::out_of_range);
  Turns::wait(Nothing{});
}

TEST(TurnsTest, WithoutAnotherSideOneOnlyWaits) {
  int waits = 0;
  struct Counted {
    int& waits;
    void wait() const { ++waits; }
  };
  Turns::wait(Counted{waits});
  EXPECT_EQ(waits, 1);
}

}  // namespace
}  // namespace fathom
