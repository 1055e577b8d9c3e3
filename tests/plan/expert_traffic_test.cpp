#include "plan/expert_traffic.h"

#include <gtest/gtest.h>

#include "support/planned_training.h"

namespace fathom {
namespace {

// Section 3.2.2: experts on 8 nodes of 8, a token on at most 4 of them.
TEST(ExpertTrafficTest, ATokenGoesToAtMostAsManyNodesAsRoutingAllows) {
  const ModelConfig v3 = test::planned_task("deepseek-v3").model;
  const ExpertTraffic traffic = expert_traffic(v3, 64, 8, Precision::fp8);
  EXPECT_EQ(traffic.remote_nodes, 3.5);                        // one of 4 is its own, one time in two
  EXPECT_EQ(traffic.network_dispatch, 3.5 * (7168 + 56 * 4));  // a code a value, a scale for 128
  EXPECT_EQ(traffic.network_combine, 3.5 * 7168 * 2);
  EXPECT_EQ(traffic.node_dispatch, 8 * 7.0 / 8 * (7168 + 56 * 4));
}

TEST(ExpertTrafficTest, WithoutALimitATokenGoesToAnyNode) {
  ModelConfig config = test::planned_task("deepseek-v3").model;
  config.n_group = config.topk_group = 1;
  EXPECT_EQ(expert_traffic(config, 64, 8, Precision::fp8).remote_nodes, 7);
  EXPECT_EQ(expert_traffic(config, 256, 8, Precision::fp8).remote_nodes, 8 * 31.0 / 32);
}

TEST(ExpertTrafficTest, InsideANodeNothingCrossesTheNetwork) {
  const ModelConfig v3 = test::planned_task("deepseek-v3").model;
  const ExpertTraffic traffic = expert_traffic(v3, 8, 8, Precision::bf16);
  EXPECT_EQ(traffic.network_bytes(), 0);
  EXPECT_EQ(traffic.node_dispatch, 7 * 7168 * 2);
  EXPECT_EQ(expert_traffic(v3, 1, 8, Precision::bf16).node_bytes(), 0);
}

// Two groups on a node: those chosen may all be on nodes of their own.
TEST(ExpertTrafficTest, FewNodesAreAllReached) {
  const ModelConfig v3 = test::planned_task("deepseek-v3").model;
  EXPECT_EQ(expert_traffic(v3, 32, 8, Precision::fp8).remote_nodes, 4 * 3.0 / 4);
  EXPECT_EQ(expert_traffic(v3, 16, 8, Precision::fp8).remote_nodes, 2 * 1.0 / 2);
}

TEST(ExpertTrafficTest, TheSlowerKindOfLinkDecides) {
  Hardware hardware = load_hardware("h800");
  hardware.node_latency = 0;
  for (NetworkLevel& level : hardware.network_levels) level.latency = 0;
  const ExpertTraffic traffic =
      expert_traffic(test::planned_task("deepseek-v3").model, 64, 8, Precision::fp8);
  EXPECT_DOUBLE_EQ(traffic_seconds(traffic, 1, {.size = 64}, hardware),
                   traffic.network_bytes() / (50e9 * 0.88));
  hardware.node_bandwidth = 50e9;
  EXPECT_DOUBLE_EQ(traffic_seconds(traffic, 1, {.size = 64}, hardware), traffic.node_bytes() / (50e9 * 0.8));
}

}  // namespace
}  // namespace fathom
