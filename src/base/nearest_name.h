#pragma once

#include <span>
#include <string_view>

namespace fathom {

/// The name in `known` that is fewest single-character edits away from `wanted`, the first of several; empty
/// when none is close enough to be what a slip of the hand meant (a third of the longer name's length).
std::string_view nearest_name(std::string_view wanted, std::span<const std::string_view> known);

}  // namespace fathom
