#pragma once

#include <string_view>

namespace fathom {

/// A pattern (see `text/pattern_grammar.h`) whose strings all are of a JSON Schema format, if not every one
/// of them: "date", "time", "date-time", "duration", "uuid", "email", "hostname", "ipv4", "ipv6", "uri".
/// Empty where there is none for `format`.
std::string_view pattern_of_format(std::string_view format);

}  // namespace fathom
