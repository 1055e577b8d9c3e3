#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "numerics/precision.h"

namespace fathom {

/// Parts of what is nominal that are reached, 0 < part <= 1.
struct HardwareEfficiency {
  double gemm = 1;           // linear maps, of the operations per second of their precision
  double attention = 1;      // attention's core, of BF16's
  double memory = 1;         // of the memory's bandwidth
  double node_links = 1;     // of links inside nodes
  double network_links = 1;  // of those between them
};

/// A level of the network between nodes: leaf or rail, pod, cluster.
struct NetworkLevel {
  std::int64_t devices = 1;     // that it joins
  double latency = 0;           // seconds of a small message between two of them, one way
  double oversubscription = 1;  // how many times more its devices can send than it carries between the pieces
                                // of the level below
};

/// One accelerator and how it is connected to others. Bytes and operations per second; links are counted one
/// way. configs/hardware has examples, docs/parallelism.md says what each key means.
struct Hardware {
  std::string name;
  double f32_flops = 0;
  double bf16_flops = 0;
  double fp8_flops = 0;  // 0: has none
  double memory_bytes = 0;
  double usable_memory = 1;  // part of it that a program can have
  double memory_bandwidth = 0;
  int devices_per_node = 1;
  double node_bandwidth = 0;                 // of one device to all others of its node together
  double network_bandwidth = 0;              // of one device to other nodes
  double node_latency = 0;                   // seconds of a small message inside a node, one way
  std::vector<NetworkLevel> network_levels;  // from the smallest to that of all devices
  double price_per_hour = 0;
  std::string currency;
  HardwareEfficiency efficiency;
  double overlap_cost = 0;  // part of the computing that moving data meanwhile costs

  /// Throws `Error` where the hardware does not have the precision.
  [[nodiscard]] double flops(Precision precision) const;
};

/// Reads and checks every key. Throws `Error` that names the one that is missing, unknown or out of range.
/// @param where  names the file in messages
Hardware hardware_from_json(const Json& json, std::string_view where);

/// By a file's path, or by the name of one that is built in, as "h800".
Hardware load_hardware(const std::string& file_or_name);

}  // namespace fathom
