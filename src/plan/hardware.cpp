#include "plan/hardware.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"
#include "plan/named_file.h"

namespace fathom {
namespace {

/// Reads an object's keys, each once, and refuses those that nobody asked for.
class KeyReader {
 public:
  KeyReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    require(json.is_object(), "{}: must be an object", where_);
  }

  const Json& at(std::string_view key) {
    known_.push_back(key);
    const auto found = json_.find(key);
    require(found != json_.end(), "{}: \"{}\" is missing", where_, key);
    return *found;
  }
  [[nodiscard]] bool has(std::string_view key) {
    known_.push_back(key);
    return json_.contains(key);
  }
  double number(std::string_view key, double least, double most) {
    const Json& value = at(key);
    require(value.is_number(), "{}: \"{}\" must be a number", where_, key);
    const auto number = value.get<double>();
    require(number >= least && number <= most, "{}: \"{}\" is {}: must be {} to {}", where_, key, number,
            least, most);
    return number;
  }
  std::int64_t whole_number(std::string_view key, std::int64_t least, std::int64_t most) {
    const double value = number(key, static_cast<double>(least), static_cast<double>(most));
    require(value == std::floor(value), "{}: \"{}\" must be a whole number", where_, key);
    return static_cast<std::int64_t>(value);
  }
  std::string text(std::string_view key) {
    const Json& value = at(key);
    require(value.is_string() && !value.get_ref<const std::string&>().empty(), "{}: \"{}\" must be a text",
            where_, key);
    return printable(value.get<std::string>());
  }
  void texts(std::string_view key) {
    const Json& value = at(key);
    const auto is_text = [](const Json& one) { return one.is_string(); };
    require(value.is_array() && std::ranges::all_of(value, is_text), "{}: \"{}\" must be a list of texts",
            where_, key);
  }
  [[nodiscard]] KeyReader object(std::string_view key) {
    return {at(key), where_ + ": \"" + std::string(key) + "\""};
  }
  void refuse_others() const {
    for (const auto& [key, value] : json_.items()) {
      if (std::ranges::find(known_, key) != known_.end()) continue;
      const std::string_view nearest = nearest_name(key, known_);
      fail("{}: \"{}\" is no known key{}", where_, printable(key),
           nearest.empty() ? "" : ": did you mean \"" + std::string(nearest) + "\"?");
    }
  }

 private:
  const Json& json_;
  std::string where_;
  std::vector<std::string_view> known_;
};

constexpr double kLeastRate = 1;  // of bytes and operations per second
constexpr double kMostRate = 1e24;
constexpr double kLeastPart = 1e-3;
constexpr double kMostLatency = 1;  // seconds

HardwareEfficiency read_efficiency(KeyReader reader) {
  HardwareEfficiency efficiency;
  efficiency.gemm = reader.number("gemm", kLeastPart, 1);
  efficiency.attention = reader.number("attention", kLeastPart, 1);
  efficiency.memory = reader.number("memory", kLeastPart, 1);
  efficiency.node_links = reader.number("node_links", kLeastPart, 1);
  efficiency.network_links = reader.number("network_links", kLeastPart, 1);
  reader.refuse_others();
  return efficiency;
}

/// Each joins more devices than the one before, the first more than a node has.
std::vector<NetworkLevel> read_levels(const Json& json, std::int64_t devices_per_node,
                                      std::string_view where) {
  constexpr std::size_t kMostLevels = 8;
  require(json.is_array() && json.size() <= kMostLevels,
          "{}: \"network_levels\" must be a list of at most {} objects", where, kMostLevels);
  std::vector<NetworkLevel> levels;
  std::int64_t below = devices_per_node;
  for (const Json& one : json) {
    KeyReader reader(one, fmt::format("{}: \"network_levels\"[{}]", where, levels.size()));
    constexpr std::int64_t kMostDevices = 100'000'000;
    constexpr double kMostOversubscription = 1000;
    NetworkLevel level;
    level.devices = reader.whole_number("devices", below + 1, kMostDevices);
    level.latency = reader.number("latency", 0, kMostLatency);
    level.oversubscription = reader.number("oversubscription", 1, kMostOversubscription);
    reader.refuse_others();
    below = level.devices;
    levels.push_back(level);
  }
  return levels;
}

}  // namespace

double Hardware::flops(Precision precision) const {
  switch (precision) {
    case Precision::f32:
      return f32_flops;
    case Precision::bf16:
      return bf16_flops;
    case Precision::fp8:
      require(fp8_flops > 0, "{} has no FP8: plan for bf16", name);
      return fp8_flops;
  }
  fail("precision {} is not known", static_cast<int>(precision));
}

Hardware hardware_from_json(const Json& json, std::string_view where) {
  KeyReader reader(json, std::string(where));
  Hardware hardware;
  hardware.name = reader.text("name");
  reader.texts("sources");
  if (reader.has("notes")) reader.texts("notes");
  KeyReader flops = reader.object("flops");
  hardware.f32_flops = flops.number("f32", kLeastRate, kMostRate);
  hardware.bf16_flops = flops.number("bf16", kLeastRate, kMostRate);
  if (flops.has("fp8")) hardware.fp8_flops = flops.number("fp8", kLeastRate, kMostRate);
  flops.refuse_others();
  hardware.memory_bytes = reader.number("memory_bytes", kLeastRate, kMostRate);
  hardware.usable_memory = reader.number("usable_memory", kLeastPart, 1);
  hardware.memory_bandwidth = reader.number("memory_bandwidth", kLeastRate, kMostRate);
  constexpr std::int64_t kMostOnNode = 65536;
  hardware.devices_per_node = static_cast<int>(reader.whole_number("devices_per_node", 1, kMostOnNode));
  hardware.node_bandwidth = reader.number("node_bandwidth", kLeastRate, kMostRate);
  hardware.network_bandwidth = reader.number("network_bandwidth", kLeastRate, kMostRate);
  hardware.node_latency = reader.number("node_latency", 0, kMostLatency);
  hardware.network_levels = read_levels(reader.at("network_levels"), hardware.devices_per_node, where);
  constexpr double kMostPrice = 1e9;
  hardware.price_per_hour = reader.number("price_per_hour", 0, kMostPrice);
  hardware.currency = reader.text("currency");
  hardware.efficiency = read_efficiency(reader.object("efficiency"));
  constexpr double kMostCost = 0.9;
  hardware.overlap_cost = reader.number("overlap_cost", 0, kMostCost);
  reader.refuse_others();
  return hardware;
}

Hardware load_hardware(const std::string& file_or_name) {
  const NamedText file = read_named_text("hardware", file_or_name);
  return hardware_from_json(parse_json(file.text, file.where), file.where);
}

}  // namespace fathom
