#include "text/grammar_automaton.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "text/grammar_checks.h"
#include "text/grammar_dfa.h"
#include "text/grammar_threads.h"

namespace fathom {
namespace {

/// 64 MiB.
constexpr std::size_t kMaxTable = std::size_t{1} << 24U;

/// Rules that the first one needs, itself included, in the order in which they are found. Others may be
/// wrong.
std::vector<RuleDfa> determinise_reachable(const Grammar& grammar) {
  std::vector<RuleDfa> rules(grammar.rules.size());
  GrammarBudget budget;
  std::vector<bool> is_known(grammar.rules.size());
  std::vector<std::size_t> to_do = {0};
  is_known[0] = true;
  while (!to_do.empty()) {
    const std::size_t rule = to_do.back();
    to_do.pop_back();
    rules[rule] = determinise(grammar.rules[rule], budget);
    for (const RuleDfa::State& state : rules[rule].states)
      for (const RuleDfa::CallEdge& call : state.calls)
        if (!is_known[call.rule]) {
          is_known[call.rule] = true;
          to_do.push_back(call.rule);
        }
  }
  return rules;
}

}  // namespace

GrammarAutomaton::GrammarAutomaton(const Grammar& grammar) {
  const std::vector<RuleDfa> rules = determinise_reachable(grammar);
  check_no_left_recursion(grammar, rules);
  check_rules_end(grammar, rules);

  std::vector<State> first(rules.size());
  std::array<bool, 257> is_cut{};
  State states = 0;
  for (std::size_t rule = 0; rule < rules.size(); ++rule) {
    first[rule] = states;
    states += static_cast<State>(rules[rule].states.size());
    for (const RuleDfa::State& state : rules[rule].states)
      for (const RuleDfa::ByteEdge& edge : state.bytes) is_cut[edge.low] = is_cut[edge.high + 1U] = true;
  }
  std::size_t byte_class = 0;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    if (byte > 0 && is_cut[byte]) ++byte_class;
    class_of_[byte] = static_cast<std::uint8_t>(byte_class);
  }
  classes_ = byte_class + 1;
  require(states * classes_ <= kMaxTable, "{}: the grammar is too large: it needs {} states",
          grammar.rules.front().where, states);

  start_ = first[0];
  next_.assign(states * classes_, kNone);
  for (std::size_t rule = 0; rule < rules.size(); ++rule)
    for (const RuleDfa::State& state : rules[rule].states) {
      State* next = next_.data() + info_.size() * classes_;
      for (const RuleDfa::ByteEdge& edge : state.bytes)
        std::fill(next + class_of_[edge.low], next + class_of_[edge.high] + 1, first[rule] + edge.to);
      info_.push_back({.calls = static_cast<std::uint32_t>(calls_.size()),
                       .is_final = state.is_final,
                       .has_bytes = !state.bytes.empty(),
                       .is_plain = !state.is_final && state.calls.empty(),
                       .only_ends = state.is_final && state.calls.empty() && state.bytes.empty()});
      for (const RuleDfa::CallEdge& call : state.calls)
        calls_.push_back({first[call.rule], first[rule] + call.to});
    }
  info_.push_back({.calls = static_cast<std::uint32_t>(calls_.size())});
}

bool GrammarAutomaton::stands_for(std::string_view text) const {
  GrammarStacks stacks;
  GrammarStepper stepper(*this, stacks);
  GrammarThreads now;
  GrammarThreads next;
  stepper.add({start_, GrammarStacks::kBottom}, now);
  for (const char byte : text) {
    stepper.step(now.list, static_cast<std::uint8_t>(byte), next);
    std::swap(now, next);
  }
  return now.may_end;
}

}  // namespace fathom
