#pragma once

#include <string>
#include <string_view>

#include "text/jinja_value.h"

namespace fathom::jinja {

/// Python's `str(value)`, as `{{ value }}` prints it.
void append_str(Budget& budget, const Value& value, TextBuilder& out);
std::string str_of(Budget& budget, const Value& value);

/// Python's `repr(value)`.
void append_repr(Budget& budget, const Value& value, TextBuilder& out);
std::string repr_of(Budget& budget, const Value& value);
std::string repr_of_text(std::string_view text);

/// Python's `repr` of a float: the shortest digits that mean it.
std::string repr_of_float(double value);

}  // namespace fathom::jinja
