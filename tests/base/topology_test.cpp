#include "base/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/error_text.h"

namespace fathom {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(TopologyTest, ReadsNodesCoresAndMemoryOfADescription) {
  const Topology topology = described_topology("pack:2 [numa(memory=384GB)] core:3 pu:2");
  ASSERT_THAT(topology.nodes, SizeIs(2));
  EXPECT_EQ(topology.nodes[0].number, 0U);
  EXPECT_EQ(topology.nodes[1].number, 1U);
  EXPECT_EQ(topology.nodes[1].memory, 384'000'000'000U);
  EXPECT_THAT(topology.nodes[0].cores, ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(4, 5)));
  EXPECT_THAT(topology.nodes[1].cores,
              ElementsAre(ElementsAre(6, 7), ElementsAre(8, 9), ElementsAre(10, 11)));
}

/// As two-socket EPYCs number theirs: the second threads of all cores after all first ones.
TEST(TopologyTest, TakesProcessingUnitsAsTheSystemNumbersThem) {
  const Topology topology = described_topology("pack:2 [numa] core:2 pu:2(indexes=0,4,1,5,2,6,3,7)");
  ASSERT_THAT(topology.nodes, SizeIs(2));
  EXPECT_THAT(topology.nodes[0].cores, ElementsAre(ElementsAre(0, 4), ElementsAre(1, 5)));
  EXPECT_THAT(topology.nodes[1].cores, ElementsAre(ElementsAre(2, 6), ElementsAre(3, 7)));
}

TEST(TopologyTest, SeveralNodesOfAPackageHaveCoresOfTheirOwn) {
  const Topology topology = described_topology("pack:2 numa:2(memory=96GiB) core:4 pu:1");
  ASSERT_THAT(topology.nodes, SizeIs(4));
  for (const NumaNode& node : topology.nodes) EXPECT_THAT(node.cores, SizeIs(4));
  EXPECT_EQ(topology.nodes[3].memory, std::uint64_t{96} << 30U);
}

TEST(TopologyTest, CoresCountOnceWhereTwoNodesLieBesideThem) {
  const Topology topology = described_topology("pack:2 [numa(memory=64GB)] [numa(memory=16GB)] core:2 pu:1");
  ASSERT_THAT(topology.nodes, SizeIs(2));
  EXPECT_EQ(topology.nodes[0].memory, 64'000'000'000U);
  EXPECT_EQ(topology.nodes[1].number, 2U);
}

TEST(TopologyTest, WordsWithoutCoresAreOneOfEachUnit) {
  const Topology topology = described_topology("numa:2 pu:3");
  ASSERT_THAT(topology.nodes, SizeIs(2));
  EXPECT_THAT(topology.nodes[1].cores, ElementsAre(ElementsAre(3), ElementsAre(4), ElementsAre(5)));
}

TEST(TopologyTest, BadDescriptionsAreErrorsThatShowAGoodOne) {
  for (const char* description : {"", "foo", "pack:2", "pack:0 core:1 pu:1", "pack:2 [numa", "pack:-1 pu:2"})
    EXPECT_THAT(test::error_of([&] { described_topology(description); }), HasSubstr("pack:2 [numa(memory"))
        << description;
}

TEST(TopologyTest, DescriptionsOfHugeMachinesAreRefusedBeforeTheyTakeMemory) {
  for (const char* description : {"pack:100000 [numa] core:100000 pu:2", "99999999999999999999 2",
                                  "pack:256 [numa] core:256 pu:2", "300 300"})
    EXPECT_THAT(test::error_of([&] { described_topology(description); }), HasSubstr("more than 65536"))
        << description;
  EXPECT_THAT(described_topology("pack:2 [numa(memory=999999999999)] core:128 pu:2").nodes, SizeIs(2));
}

std::size_t units_of(const Topology& topology) {
  std::size_t units = 0;
  for (const NumaNode& node : topology.nodes)
    for (const auto& core : node.cores) units += core.size();
  return units;
}

TEST(TopologyTest, ThisMachineHasTheUnitsThatThisProcessMayUse) {
  const Topology topology = machine_topology();
  ASSERT_FALSE(topology.nodes.empty());
  EXPECT_EQ(units_of(topology), std::thread::hardware_concurrency());
}

TEST(TopologyTest, UnitsThatTasksetTookAwayAreNotOffered) {
  const unsigned kept = machine_topology().nodes.front().cores.front().front();
  std::size_t units = 0;
  std::thread([&] {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(kept, &set);
    ASSERT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
    units = units_of(machine_topology());
  }).join();
  EXPECT_EQ(units, 1U);
}

TEST(NumaBinderTest, AThreadRunsWhereItIsBound) {
  const NumaNode node = machine_topology().nodes.front();
  const auto binder = machine_binder();
  for (const auto& core : node.cores) {
    std::thread([&] {
      binder->bind_thread(core);
      cpu_set_t set;
      ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
      EXPECT_EQ(static_cast<std::size_t>(CPU_COUNT(&set)), core.size());
      EXPECT_TRUE(CPU_ISSET(core.front(), &set));
    }).join();
  }
  std::thread([&] {
    const std::vector<unsigned> none = {1000000};
    EXPECT_THAT(test::error_of([&] { binder->bind_thread(none); }), HasSubstr("processing unit 1000000"));
  }).join();
}

/// Whether the system follows shows on machines with several nodes only; containers may forbid to ask.
TEST(NumaBinderTest, MemoryCanBeUsedAfterItWasBound) {
  const NumaNode node = machine_topology().nodes.front();
  constexpr std::size_t kBytes = std::size_t{4} << 20U;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::thread([&] {
    const auto binder = machine_binder();
    if (!binder->bind_memory(memory, kBytes, node.number) || !binder->spread_memory({&node.number, 1}))
      GTEST_LOG_(INFO) << "this machine forbids binding memory";
    std::memset(memory, 7, kBytes);
    EXPECT_EQ(static_cast<const char*>(memory)[kBytes - 1], 7);
  }).join();
  munmap(memory, kBytes);
}

}  // namespace
}  // namespace fathom
