#pragma once

#include <cstdint>

namespace fathom {

/// Of which pass a message is: one of each may be under way at once.
enum class Direction : std::uint8_t { forward, backward };

}  // namespace fathom
