#include "plan/hardware.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plan/builtin_files.h"
#include "plan/named_file.h"
#include "support/error_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

Json h800_json() {
  return parse_json(read_named_text("hardware", "h800").text, "h800");
}

std::string hardware_refusal(const Json& json) {
  return error_of([&] { (void)hardware_from_json(json, "x.json"); });
}

TEST(HardwareTest, EveryBuiltInFileIsRead) {
  int files = 0;
  for (const BuiltinFile& file : builtin_files()) {
    if (file.folder != "hardware") continue;
    ++files;
    const Hardware hardware = load_hardware(std::string(file.name));
    EXPECT_GE(hardware.bf16_flops, hardware.f32_flops) << file.name;
  }
  EXPECT_EQ(files, 6);
}

TEST(HardwareTest, H800IsTheReportsMachine) {
  const Hardware hardware = load_hardware("h800");
  EXPECT_EQ(hardware.devices_per_node, 8);
  EXPECT_EQ(hardware.price_per_hour, 2);
  // Section 3.2.2: NVLink 160 GB/s, 3.2 times InfiniBand's 50.
  EXPECT_DOUBLE_EQ(hardware.node_bandwidth * hardware.efficiency.node_links, 160e9);
  EXPECT_DOUBLE_EQ(hardware.network_bandwidth, 50e9);
  EXPECT_EQ(hardware.flops(Precision::fp8), 1978.9e12);
  // arXiv 2505.09343, section 5.1: two layers of 64-port switches in each of eight planes, full bandwidth.
  EXPECT_EQ(hardware.network_levels[0].devices, 32 * 8);
  EXPECT_EQ(hardware.network_levels[1].devices, 32 * 64 * 8);
  EXPECT_EQ(hardware.network_levels[1].oversubscription, 1);
}

// arXiv 2407.21783, section 3.3.1.
TEST(HardwareTest, H100sAreJoinedAsLlama3sWere) {
  const Hardware hardware = load_hardware("h100");
  EXPECT_EQ(hardware.network_levels[1].devices, 3072);
  EXPECT_EQ(hardware.network_levels[1].oversubscription, 1);
  EXPECT_EQ(hardware.network_levels[2].devices, 8 * 3072);
  EXPECT_EQ(hardware.network_levels[2].oversubscription, 7);
}

TEST(HardwareTest, WhatItDoesNotHaveIsAnError) {
  EXPECT_THAT(error_of([] { (void)load_hardware("a100").flops(Precision::fp8); }),
              HasSubstr("plan for bf16"));
}

TEST(HardwareTest, EveryKeyIsChecked) {
  EXPECT_EQ(hardware_refusal(h800_json()), "no error");
  const Json good = h800_json();
  for (const auto& [key, value] : good.items()) {
    Json wrong = good;
    wrong.erase(key);
    if (key != "notes") {
      EXPECT_THAT(hardware_refusal(wrong), HasSubstr("\"" + key + "\" is missing"));
    }
    wrong[key] = nullptr;
    EXPECT_THAT(hardware_refusal(wrong), HasSubstr(key)) << key;
    if (!value.is_number()) continue;
    wrong[key] = -1;
    EXPECT_THAT(hardware_refusal(wrong), HasSubstr(key)) << key;
    wrong[key] = 1e300;
    EXPECT_THAT(hardware_refusal(wrong), HasSubstr(key)) << key;
  }
  for (const auto& [key, value] : good["efficiency"].items()) {
    Json wrong = good;
    wrong["efficiency"][key] = 1.01;
    EXPECT_THAT(hardware_refusal(wrong), HasSubstr(key)) << key;
  }
  for (const char* key : {"devices", "latency", "oversubscription"}) {
    Json wrong = good;
    wrong["network_levels"][1].erase(key);
    EXPECT_THAT(hardware_refusal(wrong), HasSubstr("\"network_levels\"[1]: \"" + std::string(key))) << key;
    wrong["network_levels"][1][key] = -1;
    EXPECT_THAT(hardware_refusal(wrong), HasSubstr(key)) << key;
  }
  Json wrong = good;
  wrong["network_levels"][2]["devices"] = wrong["network_levels"][1]["devices"];
  EXPECT_THAT(hardware_refusal(wrong), HasSubstr("must be 16385 to"));
  wrong = good;
  wrong["network_levels"] = Json::array();
  EXPECT_EQ(hardware_refusal(wrong), "no error") << "one node";
  wrong["network_levels"] = {1};
  EXPECT_THAT(hardware_refusal(wrong), HasSubstr("must be an object"));
  wrong = good;
  wrong["devices_per_node"] = 2.5;
  EXPECT_THAT(hardware_refusal(wrong), HasSubstr("whole number"));
  EXPECT_THAT(hardware_refusal(Json::array()), HasSubstr("must be an object"));
}

TEST(HardwareTest, AKeyThatIsMisspeltIsNamedWithItsNeighbour) {
  Json wrong = h800_json();
  wrong["network_bandwith"] = 1;
  EXPECT_THAT(hardware_refusal(wrong), HasSubstr("did you mean \"network_bandwidth\""));
}

TEST(HardwareTest, ANameThatIsNeitherFileNorBuiltInListsThoseThereAre) {
  EXPECT_THAT(error_of([] { (void)load_hardware("h900"); }), HasSubstr("a100, b200, cpu, h100, h200, h800"));
}

}  // namespace
}  // namespace fathom
