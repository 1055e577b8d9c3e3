#include "base/ordered_pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/error.h"
#include "support/error_text.h"

namespace fathom {
namespace {

using Pipeline = OrderedPipeline<int, int>;

class OrderedPipelineTest : public testing::TestWithParam<int> {
 protected:
  ThreadPool pool_{static_cast<std::size_t>(GetParam())};

  /// 0, 1, ... up to `count`.
  static std::function<bool(int&)> numbers(int count) {
    return [next = 0, count](int& item) mutable {
      item = next++;
      return item < count;
    };
  }
};

TEST_P(OrderedPipelineTest, ResultsComeInOrderHoweverLongTheyTake) {
  std::vector<int> seen;
  Pipeline::run(pool_, {.produce = numbers(500),
                        .work =
                            [](int item) {
                              if (item % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
                              return item * item;
                            },
                        .consume = [&](int result) { seen.push_back(result); }});
  ASSERT_EQ(seen.size(), 500U);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i * i);
}

TEST_P(OrderedPipelineTest, NoMoreThanFourItemsAThreadAreUnderWay) {
  std::atomic<int> produced{0};
  std::atomic<int> consumed{0};
  int most = 0;
  Pipeline::run(pool_, {.produce =
                            [next = numbers(300), &produced](int& item) mutable {
                              ++produced;
                              return next(item);
                            },
                        .work =
                            [](int item) {
                              if (item == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
                              return item;
                            },
                        .consume =
                            [&](int) {
                              most = std::max(most, produced - consumed);
                              ++consumed;
                            }});
  // Each thread may hold one beyond those that wait.
  EXPECT_LE(most, 5 * GetParam() + 1);
}

TEST_P(OrderedPipelineTest, TheEarliestErrorIsThrownAfterAllBeforeIt) {
  for (const char* where : {"produce", "work", "consume"}) {
    std::vector<int> seen;
    const auto fail_at = [&](const char* stage, int item) {
      require(std::string_view(stage) != where || item < 40, "{} {}", stage, item);
    };
    const std::string error = test::error_of([&] {
      Pipeline::run(pool_, {.produce =
                                [&, next = numbers(200)](int& item) mutable {
                                  const bool more = next(item);
                                  fail_at("produce", item);
                                  return more;
                                },
                            .work =
                                [&](int item) {
                                  fail_at("work", item);
                                  return item;
                                },
                            .consume =
                                [&](int result) {
                                  fail_at("consume", result);
                                  seen.push_back(result);
                                }});
    });
    EXPECT_EQ(error, std::string(where) + " 40");
    EXPECT_EQ(seen.size(), 40U);
  }
}

TEST_P(OrderedPipelineTest, NothingToDoIsDone) {
  int consumed = 0;
  Pipeline::run(
      pool_,
      {.produce = numbers(0), .work = [](int item) { return item; }, .consume = [&](int) { ++consumed; }});
  EXPECT_EQ(consumed, 0);
}

INSTANTIATE_TEST_SUITE_P(Threads, OrderedPipelineTest, testing::Values(1, 2, 3, 8),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace fathom
