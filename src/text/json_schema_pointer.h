#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/json.h"

namespace fathom {

/// What a `$ref` names in its own document: "#", or "#" and a JSON pointer (RFC 6901), percent signs as in
/// addresses.
/// @param where  names the schema that has it, in messages
/// Throws `Error` where it names nothing, or something elsewhere.
const OrderedJson& find_reference(const OrderedJson& document, const OrderedJson& reference,
                                  const std::string& where);

}  // namespace fathom
