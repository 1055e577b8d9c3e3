#include "base/turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace fathom {
namespace {

using testing::ElementsAre;

/// Something to wait for that comes at once.
struct Nothing {
  void wait() const {}
};

/// What comes when it is told to.
struct Message {
  std::atomic<bool> came = false;
  void wait() const {
    while (!came) std::this_thread::yield();
  }
};

TEST(TurnsTest, ATurnEndsWhereItsSideWaits) {
  std::vector<std::string> order;
  Message first;
  Message second;
  Turns::run(
      [&] {
        order.emplace_back("a waits");
        Turns::wait(first);
        order.emplace_back("a goes on");
        second.came = true;
      },
      [&] {
        order.emplace_back("b begins");
        first.came = true;  // its turn ends where it waits, not here
        order.emplace_back("b waits");
        Turns::wait(second);
        order.emplace_back("b goes on");
      });
  EXPECT_THAT(order, ElementsAre("a waits", "b begins", "b waits", "a goes on", "b goes on"));
}

TEST(TurnsTest, TheSideWhoseMessageComesFirstGoesOnFirst) {
  Message late;
  std::vector<std::string> order;
  const auto waits_late = [&] {
    Turns::wait(late);
    order.emplace_back("late");
  };
  const auto waits_twice = [&] {
    for (int i = 0; i < 2; ++i) {
      Turns::wait(Nothing{});
      order.emplace_back("early");
    }
    late.came = true;
  };
  Turns::run(waits_late, waits_twice);
  late.came = false;
  Turns::run(waits_twice, waits_late);
  EXPECT_THAT(order, ElementsAre("early", "early", "late", "early", "early", "late"));
}

TEST(TurnsTest, NeverDoBothRun) {
  std::atomic<int> running = 0;
  const auto side = [&] {
    for (int i = 0; i < 1000; ++i) {
      EXPECT_EQ(++running, 1);
      --running;
      Turns::wait(Nothing{});
    }
  };
  Turns::run(side, side);
}

TEST(TurnsTest, WhatOneSideThrowsEndsTheOtherWhereItWaits) {
  std::vector<std::string> order;
  Message message;
  const auto waits = [&] {
    order.emplace_back("waits");
    Turns::wait(message);
    order.emplace_back("goes on");
  };
  const auto throws = [&] {
    message.came = true;
    throw std::out_of_range("second");
  };
  EXPECT_THROW(Turns::run(waits, throws), std::out_of_range);
  EXPECT_THAT(order, ElementsAre("waits"));
}

TEST(TurnsTest, ASideDoesNotBeginWhenTheOtherHasFailed) {
  bool began = false;
  EXPECT_THROW(Turns::run([] { throw std::out_of_range("first"); }, [&] { began = true; }),
               std::out_of_range);
  EXPECT_FALSE(began);
}

TEST(TurnsTest, TheFirstErrorIsTheOneThatIsThrown) {
  Message message;
  EXPECT_THROW(Turns::run(
                   [&] {
                     try {
                       Turns::wait(message);
                     } catch (const Error&) {
                       throw std::logic_error("on the way out");
                     }
                   },
                   [&] {
                     message.came = true;
                     throw std::out_of_range("first");
                   }),
               std::out_of_range);
}

TEST(TurnsTest, AfterAnErrorTheThreadTakesNoTurnsAnyMore) {
  EXPECT_THROW(Turns::run([] { throw std::out_of_range("first"); }, [] {}), std::out_of_range);
  Turns::wait(Nothing{});
}

TEST(TurnsTest, NotesWhenNobodyComputes) {
  struct Slow {
    void wait() const { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }
  };
  const auto idle_time = [](const std::vector<Turns::Idle>& spans) {
    double sum = 0;
    for (const Turns::Idle& span : spans) sum += span.end - span.begin;
    return sum;
  };
  const auto compute = [] { std::this_thread::sleep_for(std::chrono::milliseconds(50)); };
  std::vector<Turns::Idle> idle;
  Turns::note_idle(&idle);
  Turns::wait(Slow{});
  EXPECT_GE(idle_time(std::exchange(idle, {})), 0.049);
  // One waits, the other computes as long.
  Turns::run([] { Turns::wait(Slow{}); }, compute);
  EXPECT_LT(idle_time(std::exchange(idle, {})), 0.025);
  // Both wait at once.
  Turns::run([] { Turns::wait(Slow{}); }, [] { Turns::wait(Slow{}); });
  const double both = idle_time(std::exchange(idle, {}));
  EXPECT_GE(both, 0.045);
  EXPECT_LT(both, 0.09);
  Turns::note_idle(nullptr);
  Turns::wait(Slow{});
  EXPECT_TRUE(idle.empty());
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
