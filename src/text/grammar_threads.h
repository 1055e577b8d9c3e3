#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "text/grammar_automaton.h"

namespace fathom {

/// One way in which the bytes so far can be read: a state, and what calls are to be returned from.
struct GrammarThread {
  GrammarAutomaton::State state = 0;
  std::uint32_t stack = 0;  // of `GrammarStacks`

  auto operator<=>(const GrammarThread&) const = default;
};

/// Stacks of states to return to, each one a state on top of another stack. Equal ones are one: they are
/// compared by number, however deep. Stacks are never forgotten, as there are few: those of JSON are as many
/// as its levels of nesting times the places where a value may stand.
class GrammarStacks {
 public:
  static constexpr std::uint32_t kBottom = 0;  // below the first rule
  static constexpr std::uint32_t kOpen = 1;    // below a rule of whose callers nothing is known

  struct Entry {
    GrammarAutomaton::State state = 0;
    std::uint32_t below = 0;
  };

  GrammarStacks();
  /// Throws `Error` when there are too many.
  std::uint32_t push(GrammarAutomaton::State state, std::uint32_t below);
  /// @param stack  neither `kBottom` nor `kOpen`
  [[nodiscard]] const Entry& top(std::uint32_t stack) const { return entries_[stack]; }

 private:
  void grow();

  std::vector<Entry> entries_;
  std::vector<std::uint32_t> index_;  // open addressing by hash; 0 is free
};

/// All ways in which the bytes so far can be read.
struct GrammarThreads {
  std::vector<GrammarThread> list;  // those that go on: each one's state has an edge for some byte
  bool may_end = false;             // the first rule has ended in one way
  bool is_open = false;             // a rule on `kOpen` has

  void clear() {
    list.clear();
    may_end = is_open = false;
  }
  [[nodiscard]] bool goes_on() const { return !list.empty(); }
  [[nodiscard]] bool is_possible() const { return goes_on() || may_end || is_open; }
};

/// Follows bytes with threads. What a grammar may cost is bounded, whoever wrote it.
class GrammarStepper {
 public:
  /// Keeps references.
  GrammarStepper(const GrammarAutomaton& automaton, GrammarStacks& stacks)
      : automaton_(automaton), stacks_(stacks) {}

  /// Adds what a thread stands for before the next byte: itself, calls that begin, callers that go on.
  /// Throws `Error` where the text can be read in too many ways.
  void add(GrammarThread thread, GrammarThreads& threads);
  /// Adds what stands below: a call's end.
  void add_caller(std::uint32_t stack, GrammarThreads& threads);
  /// `to` becomes what `from` is after a byte.
  void step(std::span<const GrammarThread> from, std::uint8_t byte, GrammarThreads& to);

 private:
  const GrammarAutomaton& automaton_;
  GrammarStacks& stacks_;
  std::vector<GrammarThread> met_;  // by the call of `add` that is under way
};

}  // namespace fathom
