#pragma once

namespace fathom::jinja {

class Interpreter;

/// Gives a program the functions that every chat template may call: range, dict, namespace, cycler, joiner,
/// raise_exception and strftime_now.
void define_globals(Interpreter& interpreter);

}  // namespace fathom::jinja
