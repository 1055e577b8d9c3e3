#pragma once

#include <cstddef>

#include "base/error.h"
#include "text/grammar.h"

namespace fathom {

/// How much work a grammar's automaton may be, whoever wrote it: some seconds at most. What people write
/// takes a thousandth of it.
class GrammarBudget {
 public:
  /// Throws `Error` that names the rule when it has been used up.
  void spend(std::size_t steps, const GrammarRule& rule) {
    require(steps <= left_,
            "{}: the grammar is too large: it runs out of bounds in the rule {} (repetitions of repetitions "
            "multiply)",
            rule.where, rule.name);
    left_ -= steps;
  }

 private:
  std::size_t left_ = 60'000'000;
};

}  // namespace fathom
