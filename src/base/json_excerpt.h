#pragma once

#include <string>

#include "base/json.h"

namespace fathom {

/// A value for a message of one line: its JSON, cut after some 40 characters, and all ASCII.
std::string excerpt(const Json& value);

}  // namespace fathom
