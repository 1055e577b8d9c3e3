#pragma once

#include "text/jinja_value.h"

namespace fathom::jinja {

/// Python's `text % values`.
Value percent_format(Budget& budget, const Value& text, const Value& values);

/// Gives the value that a field of a format string names: "0", "name.attribute", "name[key]".
using FieldValue = std::function<Value(std::string_view field)>;

/// Python's `text.format(...)`.
/// @param value_of  is asked for each field, "" where it says nothing
std::string brace_format(Budget& budget, std::string_view text, const FieldValue& value_of);

}  // namespace fathom::jinja
