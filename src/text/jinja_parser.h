#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace fathom::jinja {

/// Parses a template: Jinja2's grammar with `{% break %}`, `{% continue %}` and `{% generation %}`; templates
/// cannot include others. Names have no places yet (see `resolve_scopes`).
/// @param budget  for the constants, which last as long as the program
/// Throws `SyntaxFault`.
Block parse(std::string_view source, Budget& budget);

}  // namespace fathom::jinja
