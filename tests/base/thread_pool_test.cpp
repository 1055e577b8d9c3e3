#include "base/thread_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/error_text.h"

namespace fathom {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

TEST(ThreadPoolTest, EveryItemRunsOnceForEveryNumberOfThreads) {
  for (const std::size_t threads : {1U, 2U, 3U, 8U}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::size_t count : {0U, 1U, 2U, 7U, 1000U}) {
      std::vector<std::atomic<int>> runs(count);
      pool.parallel_for(count, [&](std::size_t i) { runs[i].fetch_add(1); });
      for (std::size_t i = 0; i < count; ++i)
        ASSERT_EQ(runs[i].load(), 1) << threads << " threads, item " << i;
    }
  }
}

TEST(ThreadPoolTest, ManyShortLoopsSeeTheirOwnItemsAndPublishTheirResults) {
  ThreadPool pool(4);
  std::vector<int> values(5, 0);
  for (int round = 1; round <= 400; ++round) {
    pool.parallel_for(values.size(), [&, round](std::size_t i) { values[i] = round; });
    ASSERT_THAT(values, Each(round));
  }
}

TEST(ThreadPoolTest, WorkersWakeAfterALongPause) {
  ThreadPool pool(3);
  std::atomic<int> runs = 0;
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than they spin
    pool.parallel_for(10, [&](std::size_t) { ++runs; });
  }
  EXPECT_EQ(runs, 30);
}

TEST(ThreadPoolTest, LowestExceptionIsRethrownAndThePoolStaysUsable) {
  for (const std::size_t threads : {1U, 4U}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      std::string thrown;
      try {
        pool.parallel_for(100, [](std::size_t i) {
          if (i % 10 == 7) throw std::runtime_error(std::to_string(i));
        });
      } catch (const std::runtime_error& error) {
        thrown = error.what();
      }
      ASSERT_EQ(thrown, "7");
    }
    std::atomic<int> runs = 0;
    pool.parallel_for(10, [&](std::size_t) { ++runs; });
    EXPECT_EQ(runs, 10);
  }
}

TEST(ThreadPoolTest, NestedLoopsRunInPlace) {
  ThreadPool outer(3);
  ThreadPool other(2);
  std::vector<std::atomic<int>> runs(6 * 5);
  std::atomic<int> moved = 0;
  outer.parallel_for(6, [&](std::size_t i) {
    const auto thread = std::this_thread::get_id();
    (i % 2 == 0 ? outer : other).parallel_for(5, [&](std::size_t j) {
      runs[i * 5 + j].fetch_add(1);
      if (std::this_thread::get_id() != thread) ++moved;
    });
  });
  for (const auto& run : runs) EXPECT_EQ(run.load(), 1);
  EXPECT_EQ(moved, 0);
}

TEST(ThreadPoolTest, NestedExceptionReachesTheOutermostCaller) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.parallel_for(4,
                                 [&](std::size_t) {
                                   pool.parallel_for(3, [](std::size_t) { throw std::logic_error("inner"); });
                                 }),
               std::logic_error);
  std::atomic<int> runs = 0;  // the flag that marks being inside an item is not left set
  pool.parallel_for(4, [&](std::size_t) { ++runs; });
  EXPECT_EQ(runs, 4);
}

TEST(ThreadPoolTest, CallersFromSeveralThreadsTakeTurns) {
  ThreadPool pool(2);
  std::atomic<int> runs = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) pool.parallel_for(8, [&](std::size_t) { ++runs; });
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(runs, 3 * 50 * 8);
}

TEST(ThreadPoolTest, RangesCoverEachIndexOnceAndDoNotDependOnTheThreads) {
  std::set<std::pair<std::size_t, std::size_t>> expected;
  for (const std::size_t threads : {1U, 2U, 5U}) {
    ThreadPool pool(threads);
    std::mutex mutex;
    std::set<std::pair<std::size_t, std::size_t>> ranges;
    std::vector<std::atomic<int>> covered(103);
    pool.parallel_ranges(103, 10, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) covered[i].fetch_add(1);
      const std::scoped_lock lock(mutex);
      ranges.emplace(begin, end);
    });
    for (const auto& count : covered) EXPECT_EQ(count.load(), 1);
    EXPECT_EQ(ranges.size(), 11U);
    if (threads == 1) expected = ranges;
    EXPECT_EQ(ranges, expected);
  }
}

ThreadNodes two_nodes(std::function<void(std::size_t)> bind = {}) {
  return {{0, 0, 1, 1}, std::move(bind)};
}

TEST(ThreadPoolTest, EveryThreadBindsItselfOnceAndKnowsItsNode) {
  std::mutex mutex;
  std::multiset<std::size_t> bound;
  std::map<std::thread::id, std::size_t> thread_of;
  ThreadPool pool(two_nodes([&](std::size_t thread) {
    const std::scoped_lock lock(mutex);
    bound.insert(thread);
    thread_of[std::this_thread::get_id()] = thread;
  }));
  EXPECT_EQ(pool.nodes(), 2U);
  EXPECT_EQ(pool.threads(), 4U);
  for (int round = 0; round < 20; ++round)
    pool.parallel_for(100, [&](std::size_t) {
      const std::scoped_lock lock(mutex);
      EXPECT_EQ(ThreadPool::own_node(), thread_of.at(std::this_thread::get_id()) / 2);
    });
  EXPECT_EQ(bound, (std::multiset<std::size_t>{0, 1, 2, 3}));
}

TEST(ThreadPoolTest, AnotherCallerIsBoundToo) {
  std::atomic<int> callers = 0;
  ThreadPool pool(two_nodes([&](std::size_t thread) { callers += thread == 0 ? 1 : 0; }));
  const auto call = [&] { pool.parallel_for(8, [](std::size_t) {}); };
  call();
  std::thread([&] {
    call();
    call();
  }).join();
  EXPECT_EQ(callers, 2);
}

TEST(ThreadPoolTest, WhatFailsToBindReachesTheCaller) {
  ThreadPool pool(two_nodes([](std::size_t thread) {
    if (thread == 3) throw std::runtime_error("no such core");
  }));
  std::string thrown;
  try {
    pool.parallel_for(8, [](std::size_t) {});
  } catch (const std::runtime_error& error) {
    thrown = error.what();
  }
  EXPECT_EQ(thrown, "no such core");
}

TEST(ThreadPoolTest, ItemsOfNodesRunOnceWhateverTheRuns) {
  ThreadPool pool(two_nodes());
  ThreadPool plain(3);
  ThreadPool alone(1);
  const std::vector<NodeItems> runs = {{40, 60, 1}, {0, 13, 0}, {13, 13, 1}, {13, 40, 1}, {60, 100, 0}};
  for (ThreadPool* each : {&pool, &plain, &alone})
    for (int round = 0; round < 50; ++round) {
      std::vector<std::atomic<int>> times(101);
      each->parallel_for(runs, [&](std::size_t i) { times[i].fetch_add(1); });
      for (std::size_t i = 0; i < 100; ++i) ASSERT_EQ(times[i].load(), 1) << i;
      ASSERT_EQ(times[100].load(), 0);
    }
}

TEST(ThreadPoolTest, WithoutHelpOnlyANodesOwnThreadsTakeItsItems) {
  ThreadPool pool(two_nodes());
  const std::vector<NodeItems> runs = {{0, 50, 1}, {50, 60, 0}};
  for (int round = 0; round < 50; ++round)
    pool.parallel_for(
        runs, [](std::size_t i) { ASSERT_EQ(ThreadPool::own_node(), i < 50 ? 1U : 0U); }, OthersHelp::no);
}

TEST(ThreadPoolTest, OthersHelpOnlyWhenTheirOwnItemsAreTaken) {
  ThreadPool pool(two_nodes());
  std::atomic<int> own_taken = 0;  // by node 0
  std::atomic<int> early_help = 0;
  const std::vector<NodeItems> runs = {{0, 200, 1}, {200, 240, 0}};
  pool.parallel_for(runs, [&](std::size_t i) {
    if (i >= 200) ++own_taken;
    const bool helps = i < 200 && ThreadPool::own_node() == 0;
    if (helps && own_taken.load() < 40) ++early_help;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  });
  // The last of a node's own items may have been taken by its other thread and not be counted yet.
  EXPECT_LE(early_help, 1);
  EXPECT_EQ(own_taken, 40);
}

TEST(ThreadPoolTest, TheLowestExceptionOfAllNodesIsRethrown) {
  ThreadPool pool(two_nodes());
  const std::vector<NodeItems> runs = {{0, 50, 1}, {50, 100, 0}};
  std::string thrown;
  try {
    pool.parallel_for(runs, [](std::size_t i) {
      if (i % 10 == 7) throw std::runtime_error(std::to_string(i));
    });
  } catch (const std::runtime_error& error) {
    thrown = error.what();
  }
  EXPECT_EQ(thrown, "7");
}

TEST(ThreadPoolTest, MistakesAreErrors) {
  ThreadPool pool(1);
  EXPECT_THAT(test::error_of([&] { pool.parallel_ranges(5, 0, [](std::size_t, std::size_t) {}); }),
              HasSubstr("ranges of no items"));
  EXPECT_GE(ThreadPool(0).threads(), 1U);
}

}  // namespace
}  // namespace fathom
