#include "kernels/work_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

namespace fathom::kernels {
namespace {

using Runs = std::vector<std::array<std::size_t, 3>>;

Runs runs_of(const Residence& residence, const std::byte* first, std::int64_t begin, std::int64_t end,
             std::int64_t item_bytes) {
  std::vector<NodeItems> runs;
  add_node_runs(
      residence, begin, end, [&](std::int64_t item) { return first + item * item_bytes; }, runs);
  Runs plain;
  for (const NodeItems& run : runs) plain.push_back({run.begin, run.end, run.node});
  return plain;
}

TEST(WorkItemsTest, ItemsGoToTheNodesOfTheirWeights) {
  const std::vector<std::byte> memory(1000);
  const std::byte* at = memory.data();
  Residence residence;
  residence.add(at, 300, 2);
  residence.add(at + 300, 50, 0);
  residence.add(at + 350, 650, 1);
  // Items of 10 bytes, counted from 7 on: 30 on node 2, 5 on node 0, 65 on node 1.
  EXPECT_EQ(runs_of(residence, at, 7, 107, 10), (Runs{{7, 37, 2}, {37, 42, 0}, {42, 107, 1}}));
  EXPECT_EQ(runs_of(residence, at, 0, 20, 10), (Runs{{0, 20, 2}}));
  EXPECT_EQ(runs_of(residence, at + 290, 0, 2, 10), (Runs{{0, 1, 2}, {1, 2, 0}}));
  EXPECT_EQ(runs_of(residence, at, 5, 5, 10), Runs{});
}

TEST(WorkItemsTest, NobodysWeightsAreTheFirstNodes) {
  const std::vector<std::byte> memory(100);
  EXPECT_EQ(runs_of(Residence(), memory.data(), 0, 10, 10), (Runs{{0, 10, 0}}));
}

TEST(WorkItemsTest, AJobsItemsRunOnceOnPoolsOfAnyKind) {
  const std::vector<std::byte> memory(200);
  auto residence = std::make_shared<Residence>();
  residence->add(memory.data(), 100, 0);
  residence->add(memory.data() + 100, 100, 1);
  ThreadPool placed(ThreadNodes{{0, 1}, {}});
  ThreadPool plain(2);
  placed.set_residence(residence);
  plain.set_residence(residence);
  for (ThreadPool* pool : {&placed, &plain}) {
    std::vector<std::atomic<int>> times(40);
    for_all_items(
        *pool, 2, [](std::size_t) { return 20; },
        [&](std::size_t job, std::int64_t item) { return memory.data() + job * 50 + item * 5; },
        [&](std::size_t job, std::int64_t item) {
          times[job * 20 + static_cast<std::size_t>(item)].fetch_add(1);
        });
    for (const auto& each : times) EXPECT_EQ(each.load(), 1);
  }
}

}  // namespace
}  // namespace fathom::kernels
