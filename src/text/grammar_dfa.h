#pragma once

#include <cstdint>
#include <vector>

#include "text/grammar.h"
#include "text/grammar_budget.h"

namespace fathom {

/// A rule as a deterministic automaton over bytes and calls of rules.
struct RuleDfa {
  struct ByteEdge {
    std::uint8_t low = 0;
    std::uint8_t high = 0;
    std::uint32_t to = 0;
  };
  struct CallEdge {
    std::uint32_t rule = 0;
    std::uint32_t to = 0;
  };
  struct State {
    std::vector<ByteEdge> bytes;  // in ascending order, apart from each other
    std::vector<CallEdge> calls;  // one for each rule
    bool is_final = false;
  };
  std::vector<State> states;  // the first one is the start; from each one the end can be reached
};

/// Throws `Error` where the budget is used up.
RuleDfa determinise(const GrammarRule& rule, GrammarBudget& budget);

}  // namespace fathom
