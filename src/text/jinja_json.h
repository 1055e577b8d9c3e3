#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "text/jinja_value.h"

namespace fathom::jinja {

/// A text with U+FFFD for what is not UTF-8: all texts of templates are.
std::string valid_utf8(const std::string& text);

/// The value that Python's `json.loads` makes of it. Throws `Fault` for whole numbers beyond 64 bits.
Value from_json(Budget& budget, const OrderedJson& json);

/// What `json.dumps` of Python takes.
struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // of one level; there are lines where it is given
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

/// Python's `json.dumps(value)`. Throws `Fault` for what JSON has no form for.
std::string to_json(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace fathom::jinja
