#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

/// What a layer's experts are spread over. `slots` is a multiple of `devices`, which is a multiple of
/// `nodes`.
struct PlacementShape {
  std::int64_t slots = 0;    // experts that fit on all devices, redundant ones included
  std::int64_t groups = 1;   // of the router; divide the experts
  std::int64_t nodes = 1;    // machines, within which devices exchange tokens faster
  std::int64_t devices = 1;  // on all nodes, with as many slots each
};

/// Which expert is in each slot; those of device d are [d · slots / devices, (d + 1) · slots / devices). An
/// expert in several slots shares its tokens out evenly.
struct ExpertPlacement {
  std::vector<std::int32_t> expert_of_slot;  // [slots]
  std::vector<std::int32_t> copy_of_slot;    // [slots], which of its expert's copies: 0, 1, ...
  std::vector<std::int32_t> copies;          // [experts]
};

/// Places the experts of one layer, with redundant copies of those with the highest loads, so that devices
/// have even loads (technical report, section 3.4). The algorithm of DeepSeek's EPLB, ties included (to the
/// lower index): where the groups divide by the nodes, groups are packed into nodes first, so that
/// group-limited routing stays within few of them (hierarchical, for prefilling); else nodes do not count
/// (global, for decoding). Then, per node, copies go one by one to the expert with the highest load a copy,
/// and slots are packed into devices, the heaviest first, each into the lightest that has room. Throws
/// `Error` where the shape does not fit the experts.
/// @param load  [experts], not negative: tokens of each, measured or foreseen
ExpertPlacement place_experts(std::span<const double> load, const PlacementShape& shape);

/// The load of each device, [devices].
std::vector<double> device_loads(std::span<const double> load, const ExpertPlacement& placement,
                                 std::int64_t devices);

}  // namespace fathom
