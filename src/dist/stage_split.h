#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace fathom {

/// Where the stages of a pipeline begin, for every number of stages that there can be.
/// @param costs  of a model's units, in order
/// @return  [stages][stages + 1] stage s is units first[s] to first[s+1]-1, at least one: of the splits whose
///          costliest stage is cheapest, the one that is most even (least sum of squares). [0] is empty
std::vector<std::vector<std::size_t>> split_stages(std::span<const double> costs);

}  // namespace fathom
