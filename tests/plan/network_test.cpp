#include "plan/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "plan/expert_traffic.h"
#include "support/error_text.h"
#include "support/planned_training.h"

namespace fathom {
namespace {

/// Nodes of 8, racks of 16, pods of 64, a cluster of 512 at 1:4; links that reach what they promise.
Hardware plain_cluster() {
  Hardware hardware;
  hardware.name = "a cluster";
  hardware.devices_per_node = 8;
  hardware.node_bandwidth = 100e9;
  hardware.network_bandwidth = 10e9;
  hardware.node_latency = 1e-6;
  hardware.network_levels = {{.devices = 16, .latency = 2e-6},
                             {.devices = 64, .latency = 3e-6},
                             {.devices = 512, .latency = 5e-6, .oversubscription = 4}};
  return hardware;
}

constexpr double kGigabyte = 1e9;

TEST(NetworkTest, AMessageTakesTheLatencyOfTheLevelItReachesAndTheTimeOfItsBytes) {
  const Hardware cluster = plain_cluster();
  EXPECT_DOUBLE_EQ(neighbour_seconds(cluster, {.size = 8}, kGigabyte), 1e-6 + 0.01);
  EXPECT_DOUBLE_EQ(neighbour_seconds(cluster, {.size = 2, .stride = 8}, kGigabyte), 2e-6 + 0.1);
  EXPECT_DOUBLE_EQ(neighbour_seconds(cluster, {.size = 4, .stride = 16}, kGigabyte), 3e-6 + 0.1);
}

// Every device of a pod sends to another pod: four share what one of them could use. Two stages in a pod, and
// half of them do; four, and the uplinks are as wide as what crosses them.
TEST(NetworkTest, StagesThatShareAPodShareItsUplinks) {
  const Hardware cluster = plain_cluster();
  EXPECT_DOUBLE_EQ(neighbour_seconds(cluster, {.size = 4, .stride = 64}, kGigabyte), 5e-6 + 0.4);
  EXPECT_DOUBLE_EQ(neighbour_seconds(cluster, {.size = 8, .stride = 32}, kGigabyte), 5e-6 + 0.2);
  EXPECT_DOUBLE_EQ(neighbour_seconds(cluster, {.size = 16, .stride = 16}, kGigabyte), 5e-6 + 0.1);
}

TEST(NetworkTest, ARingInANodePassesAllButItsOwnPart) {
  const RingSeconds ring = ring_seconds(plain_cluster(), {.size = 8}, kGigabyte);
  EXPECT_DOUBLE_EQ(ring.latency, 7e-6);
  EXPECT_DOUBLE_EQ(ring.total, 7e-6 + 0.01 * 7 / 8);
  EXPECT_EQ(ring_seconds(plain_cluster(), {.size = 1}, kGigabyte).total, 0);
}

// Eight links to the network for one ring: 80 GB/s. Ranks that are alone on their nodes have one.
TEST(NetworkTest, RanksOfANodeShareWhatLeavesIt) {
  const RingSeconds together = ring_seconds(plain_cluster(), {.size = 64}, kGigabyte);
  EXPECT_DOUBLE_EQ(together.total - together.latency, kGigabyte / 80e9 * 63 / 64);
  const RingSeconds apart = ring_seconds(plain_cluster(), {.size = 8, .stride = 8}, kGigabyte);
  EXPECT_DOUBLE_EQ(apart.total - apart.latency, kGigabyte / 10e9 * 7 / 8);
}

TEST(NetworkTest, OfFewBytesOverManyRanksLatencyIsTheTimeAndNodesSpareSteps) {
  const RingSeconds few = ring_seconds(plain_cluster(), {.size = 512}, 1);
  EXPECT_TRUE(few.is_by_nodes);
  EXPECT_DOUBLE_EQ(few.latency, 7 * 1e-6 + 63 * 5e-6);
  EXPECT_NEAR(few.total, few.latency, 1e-9);
  const RingSeconds many = ring_seconds(plain_cluster(), {.size = 512}, 10 * kGigabyte);
  EXPECT_FALSE(many.is_by_nodes) << "the ring has both kinds of links at work";
  EXPECT_DOUBLE_EQ(many.latency, 511 * 5e-6);
}

TEST(NetworkTest, ARingLeavesAPodOnceSoThatOversubscriptionIsNotFelt) {
  Hardware cluster = plain_cluster();
  const double slow = ring_seconds(cluster, {.size = 512}, kGigabyte).total;
  cluster.network_levels.back().oversubscription = 1;
  EXPECT_EQ(ring_seconds(cluster, {.size = 512}, kGigabyte).total, slow);
}

// One rank in 64 devices: no ring can spare the pod's uplinks anything.
TEST(NetworkTest, ARingOfRanksThatAreAloneInTheirPodsFeelsItWhole) {
  const RingSeconds ring = ring_seconds(plain_cluster(), {.size = 8, .stride = 64}, kGigabyte);
  EXPECT_DOUBLE_EQ(ring.total - ring.latency, 4 * kGigabyte / 10e9 * 7 / 8);
}

TEST(NetworkTest, OfAnAllToAllOnlyWhatLeavesThePodIsSlowed) {
  const Hardware cluster = plain_cluster();
  EXPECT_DOUBLE_EQ(all_to_all_seconds(cluster, {.size = 64}, kGigabyte, 0), 3e-6 + 0.1);
  // Of 120 ranks on other nodes 64 are in the other pod.
  EXPECT_DOUBLE_EQ(all_to_all_seconds(cluster, {.size = 128}, kGigabyte, 0), 5e-6 + 0.4 * 64 / 120);
  EXPECT_DOUBLE_EQ(all_to_all_seconds(cluster, {.size = 16}, kGigabyte, 20 * kGigabyte), 1e-6 + 2e-6 + 0.2);
  EXPECT_EQ(all_to_all_seconds(cluster, {.size = 1}, 0, 0), 0);
}

TEST(NetworkTest, MoreDevicesThanTheNetworkJoinsAreRefused) {
  EXPECT_EQ(test::error_of([] { require_joined(plain_cluster(), 512); }), "no error");
  EXPECT_THAT(test::error_of([] { require_joined(plain_cluster(), 513); }),
              testing::HasSubstr("joins 512 devices, not 513"));
}

// DeepEP's measurements on H800s (docs/legacy.md of its repository), 4,096 tokens, FP8 dispatch of 7,392
// bytes a token. Between nodes it counts a token's own node as well: bytes of 2, 4, 4 nodes at 43, 58, 51
// GB/s. The hardware file's network efficiency is what the last two say; that on two nodes it is NVLink which
// decides is not fitted. Inside one node a token goes once to each device there, not once for each expert as
// is counted here: that is slower than measured.
TEST(NetworkTest, DeepEpsNormalKernelsTakeWhatTheyWereMeasuredToTake) {
  const Hardware h800 = load_hardware("h800");
  const ModelConfig v3 = test::planned_task("deepseek-v3").model;
  constexpr double kTokens = 4096;
  constexpr double kRow = 7168 + 56 * 4;
  const auto dispatch = [&](int ep) {
    const ExpertTraffic traffic = expert_traffic(v3, ep, h800.devices_per_node, Precision::fp8);
    return all_to_all_seconds(h800, {.size = ep}, kTokens * traffic.network_dispatch,
                              kTokens * traffic.node_dispatch);
  };
  EXPECT_NEAR(dispatch(16), 2 * kTokens * kRow / 43e9, 0.06 * dispatch(16));
  EXPECT_NEAR(dispatch(32), 4 * kTokens * kRow / 58e9, 0.02 * dispatch(32));
  EXPECT_NEAR(dispatch(64), 4 * kTokens * kRow / 51e9, 0.02 * dispatch(64));
  const double distinct = 8 * (1 - std::pow(7.0 / 8, 8));  // devices that 8 experts of random choice are on
  EXPECT_NEAR(dispatch(8), distinct * kTokens * kRow / 153e9, 0.3 * dispatch(8));
}

// The same repository's low-latency kernels: 128 tokens straight to each of 8 experts, 64 to 256 ranks. What
// is missing, 16 to 24 us, is the kernels' own beginning and end.
TEST(NetworkTest, DeepEpsLowLatencyKernelsTakeALittleLonger) {
  const Hardware h800 = load_hardware("h800");
  constexpr double kRow = 7168 + 56 * 4;
  for (const auto& [ep, measured] : {std::pair{64, 173e-6}, {128, 192e-6}, {256, 194e-6}}) {
    const double bytes = 128.0 * 8 * kRow * (ep - 8) / ep;
    const double predicted = all_to_all_seconds(h800, {.size = ep}, bytes, 128.0 * 8 * kRow * 7 / ep);
    EXPECT_LT(predicted, measured) << ep;
    EXPECT_GT(predicted, 0.87 * measured) << ep;
  }
}

}  // namespace
}  // namespace fathom
