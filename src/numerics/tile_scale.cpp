#include "numerics/tile_scale.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace fathom {

float tile_scale(float amax, TileScaling scaling, float largest) {
  if (!(amax <= std::numeric_limits<float>::max())) return std::numeric_limits<float>::quiet_NaN();
  const float scale = std::max(amax, scaling.least_amax) / largest;
  if (scaling.format == ScaleFormat::f32) return scale;
  // Any bit of the mantissa carries into the exponent. Scales are normal numbers: largest is, least_amax is.
  const std::uint32_t word = std::bit_cast<std::uint32_t>(scale) + 0x7FFFFFU;
  return std::bit_cast<float>(word & 0x7F800000U);
}

}  // namespace fathom
