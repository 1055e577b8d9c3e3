#include "text/grammar_dfa.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>
#include <utility>

#include "text/grammar_nfa.h"
#include "text/hash.h"

namespace fathom {
namespace {

/// What a state costs of the budget: mostly its memory.
constexpr std::size_t kStateSteps = 30;

using StateSet = std::vector<std::uint32_t>;  // ascending

struct StateSetHash {
  std::size_t operator()(const StateSet& set) const {
    return hash_bytes({reinterpret_cast<const char*>(set.data()), set.size() * sizeof(set[0])});
  }
};

/// The subset construction.
class Determiniser {
 public:
  Determiniser(const GrammarRule& rule, GrammarBudget& budget)
      : rule_(rule), budget_(budget), nfa_(rule, budget), seen_(nfa_.size()) {}

  RuleDfa run() {
    find({nfa_.start()});
    for (std::uint32_t state = 0; state < dfa_.states.size(); ++state) expand(state);
    return std::move(dfa_);
  }

 private:
  /// The state for what can be reached from `states` without reading; made if there is none.
  std::uint32_t find(StateSet states) {
    ++round_;
    StateSet kept;
    for (const std::uint32_t state : states) seen_[state] = round_;
    while (!states.empty()) {
      const std::uint32_t state = states.back();
      states.pop_back();
      bool reads = state == nfa_.end();
      for (const GrammarNfa::Edge& edge : nfa_.edges(state)) {
        if (edge.kind != GrammarNfa::Kind::kEmpty) {
          reads = true;
        } else if (std::exchange(seen_[edge.to], round_) != round_) {
          states.push_back(edge.to);
        }
      }
      if (reads) kept.push_back(state);
      budget_.spend(1 + nfa_.edges(state).size(), rule_);
    }
    std::ranges::sort(kept);
    const auto [found, is_new] = index_.try_emplace(kept, static_cast<std::uint32_t>(dfa_.states.size()));
    if (is_new) {
      budget_.spend(kStateSteps + kept.size(), rule_);
      dfa_.states.emplace_back().is_final = std::ranges::binary_search(kept, nfa_.end());
      sets_.push_back(&found->first);
    }
    return found->second;
  }

  void expand(std::uint32_t state) {
    std::map<std::uint32_t, StateSet> calls;
    std::vector<const GrammarNfa::Edge*> bytes;
    for (const std::uint32_t from : *sets_[state])
      for (const GrammarNfa::Edge& edge : nfa_.edges(from)) {
        if (edge.kind == GrammarNfa::Kind::kCall) calls[edge.rule].push_back(edge.to);
        if (edge.kind == GrammarNfa::Kind::kBytes) bytes.push_back(&edge);
      }
    for (auto& [rule, targets] : calls) {
      const std::uint32_t to = find(unique(std::move(targets)));
      dfa_.states[state].calls.push_back({rule, to});
    }
    // Between two of these bytes no edge begins or ends.
    std::array<bool, 257> is_cut{};
    for (const GrammarNfa::Edge* edge : bytes) is_cut[edge->low] = is_cut[edge->high + 1U] = true;
    for (std::size_t low = 0; low < 256; ++low) {
      if (!is_cut[low]) continue;
      std::size_t end = low + 1;
      while (end < 256 && !is_cut[end]) ++end;
      StateSet targets;
      for (const GrammarNfa::Edge* edge : bytes)
        if (edge->low <= low && low <= edge->high) targets.push_back(edge->to);
      budget_.spend(bytes.size(), rule_);
      if (targets.empty()) continue;
      const std::uint32_t to = find(unique(std::move(targets)));
      dfa_.states[state].bytes.push_back(
          {static_cast<std::uint8_t>(low), static_cast<std::uint8_t>(end - 1), to});
    }
  }

  static StateSet unique(StateSet states) {
    std::ranges::sort(states);
    const auto rest = std::ranges::unique(states);
    states.erase(rest.begin(), rest.end());
    return states;
  }

  const GrammarRule& rule_;
  GrammarBudget& budget_;
  GrammarNfa nfa_;
  RuleDfa dfa_;
  std::unordered_map<StateSet, std::uint32_t, StateSetHash> index_;
  std::vector<const StateSet*> sets_;  // by state: keys of index_
  std::vector<std::uint32_t> seen_;    // by state of nfa_: the last round that met it
  std::uint32_t round_ = 0;
};

}  // namespace

RuleDfa determinise(const GrammarRule& rule, GrammarBudget& budget) {
  return Determiniser(rule, budget).run();
}

}  // namespace fathom
