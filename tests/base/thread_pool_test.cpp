#include "base/thread_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
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

TEST(ThreadPoolTest, MistakesAreErrors) {
  ThreadPool pool(1);
  EXPECT_THAT(test::error_of([&] { pool.parallel_ranges(5, 0, [](std::size_t, std::size_t) {}); }),
              HasSubstr("ranges of no items"));
  EXPECT_GE(ThreadPool(0).threads(), 1U);
}

}  // namespace
}  // namespace fathom
