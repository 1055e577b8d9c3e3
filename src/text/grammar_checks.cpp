#include "text/grammar_checks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

/// The states of a rule that can be reached by those edges that `takes_bytes` and `takes_call` allow.
template <typename TakesCall>
std::vector<bool> reachable(const RuleDfa& rule, bool takes_bytes, const TakesCall& takes_call) {
  std::vector<bool> is_reached(rule.states.size());
  std::vector<std::uint32_t> to_do;
  const auto reach = [&](std::uint32_t state) {
    if (is_reached[state]) return;
    is_reached[state] = true;
    to_do.push_back(state);
  };
  if (!rule.states.empty()) reach(0);
  while (!to_do.empty()) {
    const RuleDfa::State& state = rule.states[to_do.back()];
    to_do.pop_back();
    if (takes_bytes)
      for (const RuleDfa::ByteEdge& edge : state.bytes) reach(edge.to);
    for (const RuleDfa::CallEdge& call : state.calls)
      if (takes_call(call.rule)) reach(call.to);
  }
  return is_reached;
}

/// Rules whose end can be reached by edges allowed so, where calls are allowed of rules that are in the
/// answer.
std::vector<bool> rules_that_end(const std::vector<RuleDfa>& rules, bool takes_bytes) {
  std::vector<std::vector<std::uint32_t>> callers(rules.size());
  std::vector<std::uint32_t> to_do;
  for (std::uint32_t rule = 0; rule < rules.size(); ++rule) {
    to_do.push_back(rule);
    for (const RuleDfa::State& state : rules[rule].states)
      for (const RuleDfa::CallEdge& call : state.calls)
        if (callers[call.rule].empty() || callers[call.rule].back() != rule)
          callers[call.rule].push_back(rule);
  }
  std::vector<bool> ends(rules.size());
  while (!to_do.empty()) {
    const std::uint32_t rule = to_do.back();
    to_do.pop_back();
    if (ends[rule]) continue;
    const std::vector<bool> is_reached =
        reachable(rules[rule], takes_bytes, [&](std::uint32_t called) { return ends[called]; });
    for (std::size_t state = 0; state < is_reached.size() && !ends[rule]; ++state)
      ends[rule] = is_reached[state] && rules[rule].states[state].is_final;
    // What called it in vain may end now.
    if (ends[rule]) to_do.insert(to_do.end(), callers[rule].begin(), callers[rule].end());
  }
  return ends;
}

/// Depth-first search for a rule that begins with itself. Not by recursion: the rules may be many.
class LeftRecursionSearch {
 public:
  explicit LeftRecursionSearch(std::vector<std::vector<std::uint32_t>> begins_with)
      : begins_with_(std::move(begins_with)), state_(begins_with_.size()) {}

  /// The rules of a circle, in order, or none.
  std::vector<std::uint32_t> run() {
    for (std::uint32_t rule = 0; rule < begins_with_.size(); ++rule) {
      if (state_[rule] != State::kNew) continue;
      enter(rule);
      while (!path_.empty()) {
        Step& step = path_.back();
        if (step.next == begins_with_[step.rule].size()) {
          state_[step.rule] = State::kDone;
          path_.pop_back();
          continue;
        }
        const std::uint32_t called = begins_with_[step.rule][step.next++];
        if (state_[called] == State::kOnPath) return circle(called);
        if (state_[called] == State::kNew) enter(called);
      }
    }
    return {};
  }

 private:
  enum class State : std::uint8_t { kNew, kOnPath, kDone };
  struct Step {
    std::uint32_t rule = 0;
    std::size_t next = 0;
  };

  void enter(std::uint32_t rule) {
    state_[rule] = State::kOnPath;
    path_.push_back({rule, 0});
  }

  [[nodiscard]] std::vector<std::uint32_t> circle(std::uint32_t first) const {
    std::vector<std::uint32_t> rules;
    auto step = std::ranges::find(path_, first, &Step::rule);
    for (; step != path_.end(); ++step) rules.push_back(step->rule);
    rules.push_back(first);
    return rules;
  }

  std::vector<std::vector<std::uint32_t>> begins_with_;
  std::vector<State> state_;
  std::vector<Step> path_;
};

}  // namespace

void check_rules_end(const Grammar& grammar, const std::vector<RuleDfa>& rules) {
  const std::vector<bool> ends = rules_that_end(rules, true);
  for (std::size_t rule = 0; rule < rules.size(); ++rule)
    require(ends[rule] || rules[rule].states.empty(),
            "{}: the rule {} never ends: give it a choice that does not call it again",
            grammar.rules[rule].where, grammar.rules[rule].name);
}

void check_no_left_recursion(const Grammar& grammar, const std::vector<RuleDfa>& rules) {
  const std::vector<bool> may_be_empty = rules_that_end(rules, false);
  std::vector<std::vector<std::uint32_t>> begins_with(rules.size());
  for (std::size_t rule = 0; rule < rules.size(); ++rule) {
    const std::vector<bool> is_reached =
        reachable(rules[rule], false, [&](std::uint32_t called) { return may_be_empty[called]; });
    for (std::size_t state = 0; state < is_reached.size(); ++state)
      if (is_reached[state])
        for (const RuleDfa::CallEdge& call : rules[rule].states[state].calls)
          begins_with[rule].push_back(call.rule);
  }
  const std::vector<std::uint32_t> circle = LeftRecursionSearch(std::move(begins_with)).run();
  if (circle.empty()) return;
  std::string path;
  for (const std::uint32_t rule : circle)
    path += (path.empty() ? "" : " > ") + printable(grammar.rules[rule].name);
  fail("{}: the rule {} begins with itself ({}): write it with a repetition, or begin it with something else",
       grammar.rules[circle.front()].where, grammar.rules[circle.front()].name, printable(path));
}

}  // namespace fathom
