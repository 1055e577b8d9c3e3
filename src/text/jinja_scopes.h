#pragma once

#include "text/jinja_ast.h"

namespace fathom::jinja {

/// Gives each name its place, by Jinja2's rules: loops, macros, `with` and blocks that capture text are
/// scopes of their own, `if` is none; what a scope assigns hides what lies outside from its beginning on; and
/// a name that nothing assigns is looked up in the context. Finds filters and tests, too: one that does not
/// exist is an error here, unless an `if` decides whether it is used.
/// @param budget  for the work
/// Throws `SyntaxFault`.
Program resolve_scopes(Block body, Budget& budget);

}  // namespace fathom::jinja
