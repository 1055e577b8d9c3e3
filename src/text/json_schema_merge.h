#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/json.h"

namespace fathom {

/// A schema that is satisfied where both are. Neither has combinations (`$ref`, `allOf`, `anyOf`, `oneOf`) on
/// top; those inside, and what is merged inside, as `allOf`, stay.
/// @param where  for messages
/// @return  `false` where nothing satisfies both
/// Throws `Error` naming a keyword that both have and that cannot be made one.
OrderedJson merge_schemas(const OrderedJson& a, const OrderedJson& b, const std::string& where);

}  // namespace fathom
