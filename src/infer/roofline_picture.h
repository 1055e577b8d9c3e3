#pragma once

#include <span>
#include <string>

#include "infer/speed.h"

namespace fathom {

/// Measurements under the roof that this machine's memory and arithmetic are, as an SVG picture that needs
/// nothing else and suits light and dark pages: work in operations a byte to the right, operations a second
/// upwards, both in powers of two. A measurement's distance to the roof is what a faster program could gain.
/// @param results   at least one
/// @param integers  whether weights are multiplied as integers, which have a higher roof than attention's f32
std::string roofline_svg(std::span<const SpeedResult> results, bool integers);

/// What a measurement is of: "prefill 256", "decode, batch 8 behind 2048".
std::string case_name(const SpeedCase& what);

}  // namespace fathom
