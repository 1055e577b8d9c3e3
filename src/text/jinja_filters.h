#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace fathom::jinja {

/// The filter of Jinja2 with that name (`value | name`), of which `tojson` is that of `transformers`; null
/// where there is none.
FilterBody find_filter(std::string_view name);

// By what they give.
FilterBody find_text_filter(std::string_view name);
FilterBody find_number_filter(std::string_view name);
FilterBody find_sequence_filter(std::string_view name);
FilterBody find_selecting_filter(std::string_view name);

struct NamedFilter {
  std::string_view name;
  FilterBody body;
};

/// `value.a.b.0` for "a.b.0", as filters take attributes. @param path  a text, or a number
Value value_at_path(Interpreter& interpreter, Value value, const Value& path);
/// What sorting and comparing go by unless told otherwise: texts in lower case.
Value without_case(Interpreter& interpreter, const Value& value);

}  // namespace fathom::jinja
