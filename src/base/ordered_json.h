#pragma once

#include <string_view>

#include "base/json.h"

namespace fathom {

/// `parse_json`, with objects whose keys keep their order.
OrderedJson parse_ordered_json(std::string_view text, std::string_view where);

}  // namespace fathom
