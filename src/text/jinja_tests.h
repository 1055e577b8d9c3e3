#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace fathom::jinja {

/// The test of Jinja2 with that name (`value is name`); null where there is none.
FilterBody find_test(std::string_view name);

}  // namespace fathom::jinja
