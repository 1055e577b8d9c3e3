#pragma once

#include <optional>
#include <string_view>

#include "text/jinja_value.h"

namespace fathom::jinja {

/// The method of that name of Python's type, or null: one that changes nothing.
FunctionBody find_method(const Value& self, std::string_view name);
FunctionBody find_text_method(std::string_view name);    // of `str`
FunctionBody find_text_question(std::string_view name);  // those whose names begin with "is"

/// Python's `text.replace(old, replacement, count)`. @param most  negative: all
std::string replaced(Budget& budget, std::string_view text, std::string_view old,
                     std::string_view replacement, std::int64_t most);

/// `value.name`, as far as it is an attribute and no item. What Jinja2's sandbox holds back (methods that
/// change lists and dicts, Python's inner names) is undefined.
std::optional<Value> find_attribute(Interpreter& interpreter, const Value& value, std::string_view name);

/// Throws `Fault` for names that begin with "_".
void set_attribute(Namespace& name_space, Value name, Value value);

}  // namespace fathom::jinja
