#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "text/grammar_automaton.h"
#include "text/grammar_threads.h"
#include "text/token_mask.h"
#include "text/token_trie.h"

namespace fathom {

/// What tokens may come next in a state of a rule, as far as it does not depend on who called the rule.
/// (XGrammar, arXiv 2411.15100, section 3.1, calls them context-independent; those that run over the rule's
/// end are kept here as the places in the trie where it ends, from which callers go on.)
struct StateMask {
  /// Nodes of the trie before whose last byte the rule has ended, by that byte.
  struct Exits {
    std::uint8_t byte = 0;
    std::vector<std::uint32_t> nodes;
  };

  TokenMask mask;                    // of many tokens, or else empty,
  std::vector<std::int32_t> tokens;  // and those of few
  std::vector<Exits> exits;
};

/// Walks over subtrees of a trie with a grammar's threads.
class TrieWalker {
 public:
  /// Keeps references.
  TrieWalker(const TokenTrie& trie, const GrammarAutomaton& automaton, GrammarStacks& stacks)
      : trie_(trie), stepper_(automaton, stacks), by_depth_(trie.longest() + 1) {}

  [[nodiscard]] GrammarStepper& stepper() { return stepper_; }

  /// Visits the nodes from `begin` up to `end`, whole subtrees whose parents are all at one depth, that can
  /// be reached with `threads` at that parent. Throws `Error` where that is unreasonable work.
  /// @param visit  called with each node, and its threads
  template <typename Visit>
  void walk(std::uint32_t begin, std::uint32_t end, const std::vector<GrammarThread>& threads,
            const Visit& visit);

  /// Begins to count the work of one mask.
  void begin_mask() { work_ = 0; }

 private:
  void count_work(std::size_t threads);

  const TokenTrie& trie_;
  GrammarStepper stepper_;
  std::vector<GrammarThreads> by_depth_;
  std::size_t work_ = 0;
};

/// The masks of all states of an automaton, each made when it is first asked for. Threads may share it.
class StateMasks {
 public:
  /// Keeps references.
  StateMasks(const GrammarAutomaton& automaton, const TokenTrie& trie);
  ~StateMasks();
  StateMasks(const StateMasks&) = delete;
  StateMasks& operator=(const StateMasks&) = delete;

  const StateMask& of(GrammarAutomaton::State state) const;

 private:
  [[nodiscard]] std::unique_ptr<const StateMask> make(GrammarAutomaton::State state) const;

  const GrammarAutomaton& automaton_;
  const TokenTrie& trie_;
  mutable std::vector<std::atomic<const StateMask*>> masks_;  // by state; owned
};

template <typename Visit>
void TrieWalker::walk(std::uint32_t begin, std::uint32_t end, const std::vector<GrammarThread>& threads,
                      const Visit& visit) {
  if (begin == end) return;
  const std::uint32_t first_depth = trie_.node(begin).depth;
  for (std::uint32_t index = begin; index < end;) {
    const TokenTrie::Node& node = trie_.node(index);
    const std::vector<GrammarThread>& before =
        node.depth == first_depth ? threads : by_depth_[node.depth - 1U].list;
    GrammarThreads& now = by_depth_[node.depth];
    count_work(before.size());
    stepper_.step(before, node.byte, now);
    if (now.is_possible()) visit(index, std::as_const(now));
    index = now.goes_on() ? index + 1 : node.end;
  }
}

}  // namespace fathom
