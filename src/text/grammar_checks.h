#pragma once

#include <vector>

#include "text/grammar.h"
#include "text/grammar_dfa.h"

namespace fathom {

// What an automaton with a stack cannot take. Both throw `Error` that says which rule it is, and where.

/// @param rules  one for each rule of `grammar`; without states where the first rule does not need it

/// Every rule stands for some text: `r ::= "a" r` never ends.
void check_rules_end(const Grammar& grammar, const std::vector<RuleDfa>& rules);

/// No rule calls itself before anything is read: `r ::= r "a" | "b"`, or by way of others, or after rules
/// that may be empty.
void check_no_left_recursion(const Grammar& grammar, const std::vector<RuleDfa>& rules);

}  // namespace fathom
