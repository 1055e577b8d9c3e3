#pragma once

#include <string>

#include "text/jinja_ast.h"

namespace fathom::jinja {

/// The variables of a function while it runs, and longer where macros were made in it.
struct Frame {
  std::vector<Value> slots;
  Frame* outside = nullptr;
  bool is_captured = false;  // by a macro
};

/// A macro, or the `caller` of a `call` block, with the frame that it was made in.
struct Macro {
  const Stmt* stmt = nullptr;
  Frame* closure = nullptr;
  std::string name;
};

}  // namespace fathom::jinja
